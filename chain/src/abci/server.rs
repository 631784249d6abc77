//! The socket protocol of ABCI: each message behind its length, answers in the order of questions.
//!
//! Our own, because the published server leaves Nagle's algorithm on: every answer after the first of a batch then
//! waits 40 ms for an acknowledgement, which bounds a mempool at 25 transactions a second.

use std::{
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use prost::{Message, bytes::Bytes};
use tendermint_proto::v0_38::abci::{Request, Response};

/// A block of 4 MiB with room to spare; more is a mistake or an attack.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
const BUFFER: usize = 1 << 20;

/// Answers questions.
pub trait Dispatch: Clone + Send + 'static {
    /// The answer to `request`.
    fn answer(&self, request: Request) -> Response;
}

/// Serves every connection on a thread of its own, until the listener fails.
pub fn serve(address: SocketAddr, app: &impl Dispatch) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let app = app.clone();
        thread::spawn(move || {
            if let Err(e) = converse(&stream, &app) {
                tracing::warn!("connection with consensus: {e}");
            }
        });
    }
}

fn converse(stream: &TcpStream, app: &impl Dispatch) -> io::Result<()> {
    let mut input = BufReader::with_capacity(BUFFER, stream);
    let mut output = BufWriter::with_capacity(BUFFER, stream);
    while let Some(request) = read(&mut input)? {
        output.write_all(&app.answer(request).encode_length_delimited_to_vec())?;
        // Questions come in groups: what is already here is answered first.
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
    output.flush()
}

fn read(input: &mut impl BufRead) -> io::Result<Option<Request>> {
    if input.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut length = 0u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        length |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            let length = usize::try_from(length).ok().filter(|n| *n <= MAX_MESSAGE);
            let length = length.ok_or_else(|| bad("the message is too long"))?;
            let mut bytes = Vec::with_capacity(length);
            input.take(u64::try_from(length).unwrap_or(0)).read_to_end(&mut bytes)?;
            if bytes.len() < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // Transactions stay where they were read: decoding from shared bytes copies nothing.
            return Request::decode(Bytes::from(bytes)).map(Some).map_err(|e| bad(&e.to_string()));
        }
    }
    Err(bad("the length does not end"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tendermint_proto::v0_38::abci::{RequestEcho, request::Value};

    #[test]
    fn messages_are_read_one_after_the_other_and_nonsense_is_refused() {
        let echo = |text: &str| Request { value: Some(Value::Echo(RequestEcho { message: text.into() })) };
        let long = "x".repeat(70_000);
        let bytes = [echo("a").encode_length_delimited_to_vec(), echo(&long).encode_length_delimited_to_vec()].concat();
        let mut input = bytes.as_slice();
        assert_eq!(read(&mut input).unwrap(), Some(echo("a")));
        assert_eq!(read(&mut input).unwrap(), Some(echo(&long)));
        assert_eq!(read(&mut input).unwrap(), None);
        for nonsense in [&[0xff; 20][..], &[0xff, 0xff, 0xff, 0xff, 0x7f], &[5, 1, 2], &[2, 0xff, 0xff]] {
            assert!(read(&mut &*nonsense).is_err(), "{nonsense:?}");
        }
    }
}
