//! Requests and answers of HTTP/1.1, as far as one proxy on this machine speaks it.
//!
//! Connections stay open, so an answer's end is found by its length or by its chunks. See RFC 9112, sections 6 and 7.

use std::io::{self, BufRead, ErrorKind, Read, Write};

use anyhow::{Context, Result, ensure};

/// Status line and header of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    length: Length,
}

#[derive(Debug, PartialEq, Eq)]
enum Length {
    Bytes(u64),
    Chunks,
}

impl Head {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

pub(super) fn send(
    stream: &mut impl Write,
    method: &str,
    path: &str,
    kind: &str,
    body: &str,
) -> Result<()> {
    let request = format!(
        "{method} {path} HTTP/1.1\r\n\
         Host: localhost\r\n\
         Accept: application/json\r\n\
         Content-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n\
         {body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).context("send")
}

pub(super) fn head(stream: &mut impl BufRead) -> Result<Head> {
    let first = line(stream)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("{first:?} is no answer of HTTP"))?;
    let mut length = Length::Bytes(0);
    loop {
        let field = line(stream)?;
        if field.is_empty() {
            return Ok(Head { status, length });
        }
        let (name, value) = field.split_once(':').unwrap_or((&field, ""));
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Length::Bytes(value.parse().context("the length of an answer")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            ensure!(value == "chunked", "an answer comes as {value:?}");
            length = Length::Chunks;
        }
    }
}

/// What follows a head, to its end.
pub(super) fn body<'a>(stream: impl BufRead + Send + 'a, head: &Head) -> Box<dyn Read + Send + 'a> {
    match head.length {
        Length::Bytes(count) => Box::new(stream.take(count)),
        Length::Chunks => Box::new(Chunks {
            stream,
            left: 0,
            is_over: false,
        }),
    }
}

struct Chunks<R> {
    stream: R,
    left: usize,
    is_over: bool,
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.is_over {
            return Ok(0);
        }
        let strange = |what: &str| io::Error::new(ErrorKind::InvalidData, what.to_owned());
        let mut next = || line(&mut self.stream).map_err(|error| strange(&format!("{error:#}")));
        if self.left == 0 {
            let size = next()?;
            self.left = usize::from_str_radix(&size, 16).map_err(|_| strange(&size))?;
            if self.left == 0 {
                self.is_over = true;
                next()?;
                return Ok(0);
            }
        }
        let most = self.left.min(into.len());
        let count = self.stream.read(&mut into[..most])?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.left -= count;
        if self.left == 0 {
            line(&mut self.stream).map_err(|error| strange(&format!("{error:#}")))?;
        }
        Ok(count)
    }
}

fn line(stream: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    let count = stream.read_line(&mut text).context("read an answer")?;
    ensure!(count > 0, "the answer breaks off");
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(answer: &str) -> (Head, String) {
        let mut stream = Cursor::new(answer);
        let head = head(&mut stream).unwrap();
        let mut text = String::new();
        body(&mut stream, &head).read_to_string(&mut text).unwrap();
        // What follows on the connection is another answer's.
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "HTTP");
        (head, text)
    }

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let (head, text) = read("HTTP/1.1 409 Conflict\r\ncontent-length: 4\r\n\r\nbodyHTTP");
        assert!(!head.is_success());
        assert_eq!((head.status, text.as_str()), (409, "body"));
    }

    #[test]
    fn an_answer_in_chunks_ends_with_the_empty_one() {
        let (head, text) = read(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n1\r\ny\r\n0\r\n\r\nHTTP",
        );
        assert!(head.is_success());
        assert_eq!(text, "body");
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error() {
        let mut stream = &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nbod"[..];
        let head = head(&mut stream).unwrap();
        let outcome = body(stream, &head).read_to_string(&mut String::new());
        assert!(outcome.is_err());
    }
}
