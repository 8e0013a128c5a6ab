//! An answer of a server as an archive stores it: head, body, and what the body was packed in for
//! the way.
//!
//! Some archives store the body as it came, others unpacked it and left the head as it was. So a
//! body that is not what its head says is taken as it is.

use std::io::Read;

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::records::{Head, MAX_BODY};

/// An answer.
pub(super) struct Response {
    pub(super) head: Head,
    /// Unpacked, up to [`MAX_BODY`].
    pub(super) body: Vec<u8>,
}

/// The answer in a record; `None` where it is none.
pub(super) fn read(record: &[u8]) -> Option<Response> {
    let (_, head, body) = head(record)?;
    let is_chunked = head.get("transfer-encoding").is_some_and(|way| way.to_ascii_lowercase().contains("chunked"));
    let mut body = if is_chunked { dechunked(body) } else { body.to_vec() };
    if let Some(packed) = head.get("content-encoding") {
        for way in packed.rsplit(',') {
            body = unpacked(&way.trim().to_ascii_lowercase(), body);
        }
    }
    Some(Response { head, body })
}

/// The status and head of an answer, and what follows.
pub(super) fn head(record: &[u8]) -> Option<(u16, Head, &[u8])> {
    let mut rest = record;
    let first = String::from_utf8_lossy(line(&mut rest)?).into_owned();
    let mut words = first.split_ascii_whitespace();
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/") || word == "ICY");
    let status = words.next().and_then(|status| status.parse().ok()).filter(|_| is_http)?;
    let mut head = Head::default();
    while let Some(line) = line(&mut rest) {
        if line.is_empty() {
            break;
        }
        head.add(line);
    }
    Some((status, head, rest))
}

/// The next line without its end; `None` at the end of all.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if rest.is_empty() {
        return None;
    }
    let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let line = &rest[..end];
    *rest = rest.get(end + 1..).unwrap_or_default();
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// A body without the marks of its chunks. What is no chunk is taken as it is, to the end.
fn dechunked(body: &[u8]) -> Vec<u8> {
    let (mut rest, mut out) = (body, Vec::with_capacity(body.len()));
    while !rest.is_empty() {
        let here = rest;
        let size = line(&mut rest).and_then(|line| {
            let digits = line.split(|&byte| byte == b';').next()?.trim_ascii();
            usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        });
        let Some(size) = size else {
            out.extend_from_slice(here);
            break;
        };
        if size == 0 {
            break;
        }
        out.extend_from_slice(&rest[..size.min(rest.len())]);
        rest = rest.get(size..).unwrap_or_default();
        rest = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")).unwrap_or(rest);
    }
    out
}

/// A body out of what it was packed in; what it is not packed in, as it is.
fn unpacked(way: &str, body: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let bytes = body.as_slice();
    let is_zlib = bytes.len() > 1 && bytes[0] & 15 == 8 && u16::from_be_bytes([bytes[0], bytes[1]]).is_multiple_of(31);
    let mut reader: Box<dyn Read + '_> = match way {
        "gzip" | "x-gzip" if bytes.starts_with(b"\x1f\x8b") => Box::new(MultiGzDecoder::new(bytes)),
        "deflate" if is_zlib => Box::new(ZlibDecoder::new(bytes)),
        "deflate" => Box::new(DeflateDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        "zstd" if bytes.starts_with(b"\x28\xb5\x2f\xfd") => match zstd::stream::read::Decoder::with_buffer(bytes) {
            Ok(reader) => Box::new(reader),
            Err(_) => return body,
        },
        _ => return body,
    };
    // An error leaves what came before it.
    let whole = (&mut reader).take(MAX_BODY as u64).read_to_end(&mut out).is_ok();
    drop(reader);
    if out.is_empty() && !whole { body } else { out }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn body(head: &str, body: &[u8]) -> String {
        let record = [format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes(), body].concat();
        let body = read(&record).expect("an answer").body;
        String::from_utf8(body).expect("text")
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).expect("memory");
        out.finish().expect("memory")
    }

    #[test]
    fn bodies_are_unpacked_as_they_are_stored() {
        let chunked = "Transfer-Encoding: chunked";
        assert_eq!(body(chunked, b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n"), "abcdefg");
        assert_eq!(body(chunked, b"<html>no chunks\r\n"), "<html>no chunks\r\n");
        assert_eq!(body(chunked, b"3\r\nabc\r\nnot a size\r\n"), "abcnot a size\r\n");
        assert_eq!(body(chunked, b"ff\r\ncut"), "cut");
        assert_eq!(body("content-encoding: GZIP", &gzip(b"packed")), "packed");
        assert_eq!(body("Content-Encoding: gzip", b"plain"), "plain");
        let packed = gzip(b"both");
        let both = [format!("{:x}\r\n", packed.len()).as_bytes(), &packed, b"\r\n0\r\n\r\n"].concat();
        assert_eq!(body("Content-Encoding: gzip\r\nTransfer-Encoding: chunked", &both), "both");
        let cut = gzip(&b"0123456789abcdef\n".repeat(1000));
        assert!(body("Content-Encoding: gzip", &cut[..cut.len() - 12]).starts_with("0123456789abcdef\n"));
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(b"zlib").expect("memory");
        assert_eq!(body("Content-Encoding: deflate", &zlib.finish().expect("memory")), "zlib");
        let mut brotli = Vec::new();
        brotli::CompressorWriter::new(&mut brotli, 4096, 5, 20).write_all(b"brotli brotli").expect("memory");
        assert_eq!(body("Content-Encoding: br", &brotli), "brotli brotli");
        assert_eq!(body("Content-Encoding: br", b"<html> plain"), "<html> plain");
        let zstd = zstd::encode_all(&b"zstd"[..], 3).expect("memory");
        assert_eq!(body("Content-Encoding: zstd", &zstd), "zstd");
    }

    #[test]
    fn heads_are_read_leniently() {
        let (status, head, rest) =
            head(b"HTTP/1.0 301\nLocation : /x\n more\nSet-Cookie: a\nset-cookie: b\n\nrest").expect("a head");
        assert_eq!(
            (status, head.get("location"), head.get("set-cookie"), rest),
            (301, Some("/x more"), Some("b"), &b"rest"[..])
        );
        assert!(read(b"<html>").is_none() && read(b"").is_none());
    }
}
