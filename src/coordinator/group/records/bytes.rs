//! The primitives of Kafka's messages that group records use (KIP-482 for the flexible ones), over borrowed bytes:
//! replaying an offset allocates nothing here. Every length is checked against what is there.

use std::sync::Arc;

use ::bytes::Bytes;

use super::BadRecord;
use crate::types::TopicId;
use crate::wire::primitives;

pub(super) type Result<T> = std::result::Result<T, BadRecord>;

pub(super) fn bad<T>(what: impl Into<String>) -> Result<T> {
    Err(BadRecord(what.into()))
}

pub(super) struct Reader<'a> {
    rest: &'a [u8],
    flexible: bool,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], flexible: bool) -> Reader<'a> {
        Reader { rest: bytes, flexible }
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8]> {
        if len > self.rest.len() {
            return bad(format!("ends within {what}"));
        }
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        Ok(self.take(N, what)?.try_into().expect("as long as asked for"))
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

    pub fn topic_id(&mut self, what: &'static str) -> Result<TopicId> {
        Ok(TopicId::from_bytes(self.array(what)?))
    }

    fn uvarint(&mut self, what: &'static str) -> Result<usize> {
        let mut next = || self.array(what).ok().map(|[byte]| byte);
        match primitives::uvarint(&mut next) {
            Some(value) => Ok(value as usize),
            None => bad(format!("{what} has no number where one has to be")),
        }
    }

    /// `None` is null.
    fn length(&mut self, short: bool, what: &'static str) -> Result<Option<usize>> {
        if self.flexible {
            return Ok(self.uvarint(what)?.checked_sub(1));
        }
        let length = if short { self.i16(what)?.into() } else { self.i32(what)? };
        match length {
            -1 => Ok(None),
            0.. => Ok(Some(length as usize)),
            _ => bad(format!("{what} has the length {length}")),
        }
    }

    pub fn nullable_str(&mut self, what: &'static str) -> Result<Option<&'a str>> {
        let Some(length) = self.length(true, what)? else { return Ok(None) };
        match std::str::from_utf8(self.take(length, what)?) {
            Ok(text) => Ok(Some(text)),
            Err(_) => bad(format!("{what} is not UTF-8")),
        }
    }

    pub fn str(&mut self, what: &'static str) -> Result<&'a str> {
        self.nullable_str(what)?.map_or_else(|| bad(format!("{what} is null")), Ok)
    }

    pub fn name(&mut self, what: &'static str) -> Result<Arc<str>> {
        Ok(self.str(what)?.into())
    }

    pub fn nullable_name(&mut self, what: &'static str) -> Result<Option<Arc<str>>> {
        Ok(self.nullable_str(what)?.map(Arc::from))
    }

    pub fn bytes(&mut self, what: &'static str) -> Result<Bytes> {
        match self.length(false, what)? {
            Some(length) => Ok(Bytes::copy_from_slice(self.take(length, what)?)),
            None => bad(format!("{what} is null")),
        }
    }

    pub fn nullable_list<T>(
        &mut self,
        what: &'static str,
        mut element: impl FnMut(&mut Reader<'a>) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(count) = self.length(false, what)? else { return Ok(None) };
        // Each element has at least a byte.
        if count > self.rest.len() {
            return bad(format!("ends within {what}"));
        }
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(element(self)?);
        }
        Ok(Some(list))
    }

    pub fn list<T>(
        &mut self,
        what: &'static str,
        element: impl FnMut(&mut Reader<'a>) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.nullable_list(what, element)?.map_or_else(|| bad(format!("{what} is null")), Ok)
    }

    /// Tagged fields, when flexible: `known` reads those that it knows from a reader over the field.
    pub fn tags(
        &mut self,
        mut known: impl FnMut(usize, &mut Reader<'a>) -> Result<()>,
    ) -> Result<()> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.uvarint("tagged fields")? {
            let tag = self.uvarint("tagged fields")?;
            let length = self.uvarint("tagged fields")?;
            let field = self.take(length, "tagged fields")?;
            known(tag, &mut Reader::new(field, true))?;
        }
        Ok(())
    }

    pub fn skip_tags(&mut self) -> Result<()> {
        self.tags(|_, _| Ok(()))
    }
}

pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    flexible: bool,
}

impl<'a> Writer<'a> {
    pub fn new(out: &'a mut Vec<u8>, version: i16, flexible: bool) -> Writer<'a> {
        out.extend(version.to_be_bytes());
        Writer { out, flexible }
    }

    pub fn i8(&mut self, value: i8) {
        self.out.push(value as u8);
    }

    pub fn i16(&mut self, value: i16) {
        self.out.extend(value.to_be_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.out.extend(value.to_be_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.out.extend(value.to_be_bytes());
    }

    pub fn topic_id(&mut self, id: TopicId) {
        self.out.extend(id.as_bytes());
    }

    fn uvarint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    fn length(&mut self, short: bool, length: Option<usize>) {
        match length {
            _ if self.flexible => self.uvarint(length.map_or(0, |l| l + 1)),
            None if short => self.i16(-1),
            None => self.i32(-1),
            // Requests that made these strings had the same bound.
            Some(l) if short => self.i16(i16::try_from(l).expect("a string of at most 32767")),
            Some(l) => self.i32(i32::try_from(l).expect("a length below 2^31")),
        }
    }

    pub fn str(&mut self, text: &str) {
        self.length(true, Some(text.len()));
        self.out.extend(text.as_bytes());
    }

    pub fn nullable_str(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.str(text),
            None => self.length(true, None),
        }
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.length(false, Some(bytes.len()));
        self.out.extend(bytes);
    }

    pub fn list<T>(&mut self, list: &[T], mut element: impl FnMut(&mut Writer<'_>, &T)) {
        self.length(false, Some(list.len()));
        for item in list {
            element(self, item);
        }
    }

    /// The one tagged field of a flexible struct, which has the number 0.
    pub fn tag(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let mut field = Vec::new();
        write(&mut Writer { out: &mut field, flexible: true });
        self.uvarint(1);
        self.uvarint(0);
        self.uvarint(field.len());
        self.out.extend(field);
    }

    pub fn no_tags(&mut self) {
        if self.flexible {
            self.uvarint(0);
        }
    }
}
