"""Searching private notes by meaning: neither the notes nor the questions are seen by anybody else.

A notebook in cells, for editors that run them one by one; `python search.py` runs all. It needs a network
(`sahara devnet up --free`) and the model (`sahara.models.pull()`).
"""

# %% The notes
import numpy

import sahara

notes = [
    "The boiler is serviced every October by the firm in Mill Street.",
    "Grandmother is allergic to penicillin.",
    "The spare key lies under the third flower pot.",
    "We owe the bank 12,400 until March.",
    "The car fails to start when it is damp.",
]

# %% A vector for each, computed on the three share nodes
client = sahara.connect()
vectors = client.embed(notes, progress=True)
print(f"{len(vectors)} notes of {vectors.shape[1]} numbers each, by {client!r}")


# %% The closest note to a question: the vectors have length one, so a product is the cosine
def closest(question: str) -> str:
    """The note that is nearest in meaning."""
    (asked,) = client.embed([question])
    return notes[int(numpy.argmax(vectors @ asked))]


for question in ["Which drug must granny not get?", "How do I get into the house?", "How much is our debt?"]:
    print(f"{question}\n    {closest(question)}")

# %% The same integers on this machine, in the clear: the nodes computed exactly this
with sahara.local() as here:
    assert (here.embed(notes) == vectors).all()
client.close()
