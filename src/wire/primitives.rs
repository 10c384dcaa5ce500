//! The protocol's primitive types, read with checks and written to a growing buffer. For the
//! hand-written codecs of this room only; other messages come from the `kafka-protocol` crate.
//! Invariant: nothing is allocated for a count until the bytes that are left could hold it.

use bytes::Bytes;

use super::produce::{DecodeError, NodeEndpoint};
use crate::types::TopicId;

type Result<T> = std::result::Result<T, DecodeError>;

/// An unsigned varint (KIP-482): at most five bytes, and the fifth has only four bits to give. `None`: it is not one,
/// or ends within.
pub fn uvarint(mut next: impl FnMut() -> Option<u8>) -> Option<u32> {
    let mut value = 0u32;
    for shift in [0, 7, 14, 21, 28] {
        let byte = next()?;
        if shift == 28 && byte > 0x0f {
            return None;
        }
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Reads one message body. `flexible` (KIP-482) selects compact lengths and tagged fields.
pub(super) struct Reader<'a> {
    buf: &'a Bytes,
    at: usize,
    end: usize,
    flexible: bool,
}

impl<'a> Reader<'a> {
    pub fn new(buf: &'a Bytes, flexible: bool) -> Reader<'a> {
        Reader { buf, at: 0, end: buf.len(), flexible }
    }

    pub fn bad<T>(&self, what: &'static str) -> Result<T> {
        Err(DecodeError { what, at: self.at })
    }

    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8]> {
        if self.remaining() < len {
            return self.bad(what);
        }
        let slice = &self.buf[self.at..self.at + len];
        self.at += len;
        Ok(slice)
    }

    pub fn skip(&mut self, len: usize, what: &'static str) -> Result<()> {
        self.take(len, what).map(|_| ())
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }

    pub fn i8(&mut self, what: &'static str) -> Result<i8> {
        Ok(i8::from_be_bytes(self.array(what)?))
    }

    pub fn i16(&mut self, what: &'static str) -> Result<i16> {
        Ok(i16::from_be_bytes(self.array(what)?))
    }

    pub fn i32(&mut self, what: &'static str) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array(what)?))
    }

    pub fn i64(&mut self, what: &'static str) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array(what)?))
    }

    pub fn uuid(&mut self, what: &'static str) -> Result<TopicId> {
        Ok(TopicId::from_bytes(self.array(what)?))
    }

    pub fn uvarint(&mut self, what: &'static str) -> Result<u32> {
        let next = || self.take(1, what).ok().map(|byte| byte[0]);
        uvarint(next).ok_or(DecodeError { what, at: self.at })
    }

    /// A length that `i16` carries in classic encoding; `None` is null.
    fn short_len(&mut self, what: &'static str) -> Result<Option<usize>> {
        if self.flexible {
            return Ok((self.uvarint(what)? as usize).checked_sub(1));
        }
        match self.i16(what)? {
            -1 => Ok(None),
            n if n >= 0 => Ok(Some(n as usize)),
            _ => self.bad(what),
        }
    }

    fn long_len(&mut self, what: &'static str) -> Result<Option<usize>> {
        if self.flexible {
            return Ok((self.uvarint(what)? as usize).checked_sub(1));
        }
        match self.i32(what)? {
            -1 => Ok(None),
            n if n >= 0 => Ok(Some(n as usize)),
            _ => self.bad(what),
        }
    }

    fn slice(&mut self, len: usize, what: &'static str) -> Result<Bytes> {
        self.take(len, what)?;
        Ok(self.buf.slice(self.at - len..self.at))
    }

    pub fn nullable_string(&mut self, what: &'static str) -> Result<Option<Bytes>> {
        let Some(len) = self.short_len(what)? else { return Ok(None) };
        let bytes = self.slice(len, what)?;
        if std::str::from_utf8(&bytes).is_err() {
            return self.bad(what);
        }
        Ok(Some(bytes))
    }

    pub fn string(&mut self, what: &'static str) -> Result<Bytes> {
        match self.nullable_string(what)? {
            Some(bytes) => Ok(bytes),
            None => self.bad(what),
        }
    }

    pub fn nullable_bytes(&mut self, what: &'static str) -> Result<Option<Bytes>> {
        match self.long_len(what)? {
            Some(len) => Ok(Some(self.slice(len, what)?)),
            None => Ok(None),
        }
    }

    /// A count of elements that each take at least `element_bytes_min` bytes.
    pub fn nullable_count(
        &mut self,
        element_bytes_min: usize,
        what: &'static str,
    ) -> Result<Option<usize>> {
        let Some(count) = self.long_len(what)? else { return Ok(None) };
        if count > self.remaining() / element_bytes_min.max(1) {
            return self.bad(what);
        }
        Ok(Some(count))
    }

    pub fn count(&mut self, element_bytes_min: usize, what: &'static str) -> Result<usize> {
        match self.nullable_count(element_bytes_min, what)? {
            Some(count) => Ok(count),
            None => self.bad(what),
        }
    }

    /// Tagged fields, when flexible: `f` reads the fields it knows from a reader that ends with the
    /// field; the others are skipped.
    pub fn tags(&mut self, mut f: impl FnMut(u32, &mut Reader<'a>) -> Result<()>) -> Result<()> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.uvarint("tagged field count")?;
        if count as usize > self.remaining() / 2 {
            return self.bad("tagged field count");
        }
        for _ in 0..count {
            let tag = self.uvarint("tag")?;
            let len = self.uvarint("tagged field length")? as usize;
            let start = self.at;
            self.take(len, "tagged field")?;
            f(tag, &mut Reader { buf: self.buf, at: start, end: self.at, flexible: true })?;
        }
        Ok(())
    }

    pub fn skip_tags(&mut self) -> Result<()> {
        self.tags(|_, _| Ok(()))
    }
}

/// Writes one message; the same names as `Reader`.
pub(super) struct Writer {
    pub buf: Vec<u8>,
    flexible: bool,
}

impl Writer {
    /// Starts a frame: room for its length, which `finish_frame` fills in.
    pub fn frame(capacity: usize, flexible: bool) -> Writer {
        let mut buf = Vec::with_capacity(capacity);
        buf.extend_from_slice(&[0; 4]);
        Writer { buf, flexible }
    }

    pub fn finish_frame(&mut self, bytes_elsewhere: usize) {
        let len = (self.buf.len() - 4 + bytes_elsewhere) as i32;
        self.buf[..4].copy_from_slice(&len.to_be_bytes());
    }

    /// Request header v1, or v2 when flexible.
    pub fn request_header(&mut self, key: i16, version: i16, correlation_id: i32, client_id: &str) {
        self.i16(key);
        self.i16(version);
        self.i32(correlation_id);
        self.i16(client_id.len() as i16);
        self.buf.extend_from_slice(client_id.as_bytes());
        self.no_tags();
    }

    /// Response header v0, or v1 when flexible.
    pub fn response_header(&mut self, correlation_id: i32) {
        self.i32(correlation_id);
        self.no_tags();
    }

    pub fn i8(&mut self, value: i8) {
        self.buf.push(value as u8);
    }

    pub fn i16(&mut self, value: i16) {
        self.buf.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.buf.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.buf.extend_from_slice(&value.to_be_bytes());
    }

    /// A topic, by the id that newer versions of Produce and Fetch name it with, or by its name.
    pub fn topic(&mut self, by_id: bool, name: &[u8], id: crate::types::TopicId) {
        if by_id { self.uuid(id) } else { self.string(name) }
    }

    pub fn uuid(&mut self, value: TopicId) {
        self.buf.extend_from_slice(value.as_bytes());
    }

    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buf.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buf.push(value as u8);
    }

    pub fn nullable_string(&mut self, value: Option<&[u8]>) {
        match (self.flexible, value) {
            (true, None) => self.uvarint(0),
            (true, Some(v)) => self.uvarint(v.len() as u32 + 1),
            (false, None) => self.i16(-1),
            (false, Some(v)) => self.i16(v.len() as i16),
        }
        self.buf.extend_from_slice(value.unwrap_or_default());
    }

    pub fn string(&mut self, value: &[u8]) {
        self.nullable_string(Some(value));
    }

    /// The length of an array or of bytes.
    pub fn count(&mut self, count: usize) {
        if self.flexible { self.uvarint(count as u32 + 1) } else { self.i32(count as i32) }
    }

    pub fn null_count(&mut self) {
        if self.flexible { self.uvarint(0) } else { self.i32(-1) }
    }

    pub fn no_tags(&mut self) {
        if self.flexible {
            self.buf.push(0);
        }
    }

    /// One tagged field; the caller wrote the count of them. `f` writes the value.
    pub fn tag(&mut self, tag: u32, f: impl FnOnce(&mut Writer)) {
        let mut value = Writer { buf: Vec::new(), flexible: true };
        f(&mut value);
        self.uvarint(tag);
        self.uvarint(value.buf.len() as u32);
        self.buf.extend_from_slice(&value.buf);
    }

    /// KIP-951's tag 0 of a response: (node id, host, port, rack).
    pub fn node_endpoints(&mut self, endpoints: &[NodeEndpoint]) {
        self.tag(0, |w| {
            w.count(endpoints.len());
            for (node_id, host, port, rack) in endpoints {
                w.i32(*node_id);
                w.string(host.as_bytes());
                w.i32(*port);
                w.nullable_string(rack.as_deref().map(str::as_bytes));
                w.no_tags();
            }
        });
    }
}

pub(super) fn read_node_endpoints(r: &mut Reader<'_>) -> Result<Vec<NodeEndpoint>> {
    let text = |b: Bytes| String::from_utf8_lossy(&b).into_owned();
    let mut out = Vec::new();
    for _ in 0..r.count(11, "node endpoints")? {
        let node_id = r.i32("node id")?;
        let host = text(r.string("host")?);
        let port = r.i32("port")?;
        let rack = r.nullable_string("rack")?.map(text);
        r.skip_tags()?;
        out.push((node_id, host, port, rack));
    }
    Ok(out)
}
