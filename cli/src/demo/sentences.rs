//! Sentences for the demo, and texts of a wanted length made from them.

use crate::error::Result;

/// Everyday sentences in small families, so that a nearest neighbour is worth looking at.
pub const SENTENCES: [&str; 40] = [
    "The cat is asleep on the warm windowsill.",
    "A kitten dozes in the afternoon sun.",
    "My dog barks whenever the doorbell rings.",
    "Could you feed the animals while we are away?",
    "Rain is expected along the coast this evening.",
    "Take an umbrella, the sky looks dark over the sea.",
    "After a week of heat the storm finally cooled the city.",
    "Snow closed the mountain pass before noon.",
    "Please transfer two hundred euros to my savings account.",
    "How do I move money from checking to savings?",
    "The central bank raised interest rates by a quarter of a point.",
    "Higher borrowing costs are slowing down the housing market.",
    "My chest hurts when I climb the stairs.",
    "Which symptoms suggest a problem with the heart?",
    "The nurse measured my blood pressure twice because the first reading was high.",
    "Take one tablet in the morning, with food and plenty of water.",
    "Knead the dough for ten minutes and let it rest until it has doubled.",
    "The bread should rise somewhere warm before you bake it.",
    "Add garlic and chopped tomatoes, then let the sauce simmer gently.",
    "Our restaurant closes at eleven on weekdays.",
    "The train to the airport leaves every fifteen minutes from platform four.",
    "When does the next bus to the terminal depart?",
    "My flight was cancelled and I need a hotel for tonight.",
    "They cycled along the river as far as the old bridge.",
    "The telescope found water vapour around a planet that orbits a distant star.",
    "Astronomers have discovered a new world outside the solar system.",
    "Gravity bends light, so massive galaxies act like lenses.",
    "A rocket carried three satellites into orbit at dawn.",
    "The contract ends automatically unless either party renews it in writing.",
    "Without a signed extension the agreement expires in March.",
    "The court ruled that the evidence had been obtained unlawfully.",
    "I forgot my password and cannot sign in.",
    "Reset your login by following the link that we sent you by mail.",
    "The server refuses connections because its certificate has expired.",
    "A function that calls itself needs a case where it stops.",
    "She scored the winning goal in the last minute of the match.",
    "The home team won the final after extra time.",
    "He practises the violin for an hour before breakfast.",
    "The orchestra rehearsed the slow movement until every note was in its place.",
    "Two people can keep a secret if neither of them ever hears it.",
];

/// Words of one token each, to fill a text up to a wanted length.
const FILLER: &str = "again";

/// `count` texts: the built-in sentences first, then longer and longer passages joined from them.
pub fn choose(count: usize) -> Vec<String> {
    (0..count).map(passage).collect()
}

/// The `index`th text; different for every index in a practical range.
fn passage(index: usize) -> String {
    let (lap, start) = (index / SENTENCES.len(), index % SENTENCES.len());
    let parts = 1 + lap % 10;
    // Strides are odd and no multiple of 5, so a lap visits different sentences and laps differ from each other.
    let stride = [1, 3, 7, 9, 11, 13, 17, 19][lap / 10 % 8] + 10 * (lap % 3) * usize::from(lap > 0);
    let joined: Vec<&str> = (0..parts).map(|part| SENTENCES[(start + part * stride) % SENTENCES.len()]).collect();
    joined.join(" ")
}

/// A text of exactly `tokens` tokens where the tokenizer allows, never more; `seed` chooses different texts. `count`
/// says how many tokens a text has, and more than the wanted number when it is too long for the model.
pub fn of_tokens(tokens: usize, seed: usize, count: &dyn Fn(&str) -> Result<usize>) -> Result<String> {
    let mut words: Vec<&str> = (0..)
        .flat_map(|k| SENTENCES[(seed * 7 + k) % SENTENCES.len()].split(' '))
        .take(tokens.saturating_sub(2).max(1))
        .collect();
    while words.len() > 1 {
        let found = count(&words.join(" "))?;
        if found <= tokens {
            break;
        }
        // Every word has at least one token, so this many words can go when the count is exact; one when it is not.
        let surplus = (found - tokens).div_ceil(3).min(words.len() - 1);
        words.truncate(words.len() - surplus);
    }
    let missing = tokens.saturating_sub(count(&words.join(" "))?);
    words.extend(std::iter::repeat_n(FILLER, missing));
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn texts_differ_and_come_in_several_lengths() {
        let texts = choose(400);
        assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), 400);
        let lengths: BTreeSet<_> = texts.iter().map(|text| text.split(' ').count() / 16).collect();
        assert!(lengths.len() >= 4, "{lengths:?}");
    }

    #[test]
    fn a_text_of_a_wanted_length_has_it() {
        // A tokenizer of two special tokens, one token a word and one for each punctuation mark.
        let count =
            |text: &str| -> Result<usize> { Ok(2 + text.split(' ').count() + text.matches(['.', ',', '?']).count()) };
        for tokens in [3, 16, 17, 32, 128, 512] {
            let text = of_tokens(tokens, 5, &count).unwrap();
            assert_eq!(count(&text).unwrap(), tokens);
        }
        assert_ne!(of_tokens(32, 0, &count).unwrap(), of_tokens(32, 1, &count).unwrap());
    }
}
