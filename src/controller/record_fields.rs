//! The fields of metadata records as bytes: Kafka's flexible encoding (KIP-482), written and read. Pure.
//! A length is never trusted beyond the bytes that are there.

use crate::types::TopicId;

pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn frame(&mut self, key: u32, version: u32) {
        self.uvarint(super::records::FRAME_VERSION);
        self.uvarint(key);
        self.uvarint(version);
    }
    pub fn uvarint(&mut self, mut n: u32) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }
    pub fn length(&mut self, n: usize) {
        self.uvarint(n as u32 + 1);
    }
    pub fn i16(&mut self, n: i16) {
        self.0.extend(n.to_be_bytes());
    }
    pub fn i32(&mut self, n: i32) {
        self.0.extend(n.to_be_bytes());
    }
    pub fn i64(&mut self, n: i64) {
        self.0.extend(n.to_be_bytes());
    }
    pub fn uuid(&mut self, id: &TopicId) {
        self.0.extend(id.as_bytes());
    }
    pub fn i32s(&mut self, items: &[i32]) {
        self.length(items.len());
        items.iter().for_each(|n| self.i32(*n));
    }
    pub fn string(&mut self, s: &str) {
        self.length(s.len());
        self.0.extend(s.as_bytes());
    }
    pub fn nullable(&mut self, s: Option<&str>) {
        match s {
            Some(s) => self.string(s),
            None => self.0.push(0),
        }
    }
    pub fn no_tags(&mut self) {
        self.0.push(0);
    }
    /// Tagged fields, by growing number.
    pub fn tags(&mut self, fields: &[(u32, Writer)]) {
        self.uvarint(fields.len() as u32);
        for (tag, field) in fields {
            self.uvarint(*tag);
            self.uvarint(field.0.len() as u32);
            self.0.extend(&field.0);
        }
    }
}

pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        if n > self.0.len() {
            return Err(format!("{n} more bytes needed where {} are left", self.0.len()));
        }
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        Ok(head)
    }
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N).map(|b| b.try_into().unwrap_or([0; N]))
    }
    pub fn uvarint(&mut self) -> Result<u32, String> {
        let mut n = 0u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            n |= ((byte & 0x7f) as u64) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(n).map_err(|_| "a varint beyond 32 bits".to_string());
            }
        }
        Err("a varint of more than 5 bytes".to_string())
    }
    /// Of something that may not be null; its items take at least a byte each.
    pub fn length(&mut self) -> Result<usize, String> {
        let n = self.uvarint()?.checked_sub(1).ok_or("null where a value is needed")? as usize;
        if n > self.0.len() {
            return Err(format!("length {n} where {} bytes are left", self.0.len()));
        }
        Ok(n)
    }
    pub fn i8(&mut self) -> Result<i8, String> {
        Ok(i8::from_be_bytes(self.array()?))
    }
    pub fn i16(&mut self) -> Result<i16, String> {
        Ok(i16::from_be_bytes(self.array()?))
    }
    pub fn i32(&mut self) -> Result<i32, String> {
        Ok(i32::from_be_bytes(self.array()?))
    }
    pub fn i64(&mut self) -> Result<i64, String> {
        Ok(i64::from_be_bytes(self.array()?))
    }
    pub fn uuid(&mut self) -> Result<TopicId, String> {
        Ok(TopicId::from_bytes(self.array()?))
    }
    pub fn i32s(&mut self) -> Result<Vec<i32>, String> {
        (0..self.length()?).map(|_| self.i32()).collect()
    }
    pub fn string(&mut self) -> Result<String, String> {
        let n = self.length()?;
        String::from_utf8(self.take(n)?.to_vec()).map_err(|_| "text is not UTF-8".to_string())
    }
    pub fn nullable(&mut self) -> Result<Option<String>, String> {
        if self.0.first() == Some(&0) {
            self.take(1)?;
            return Ok(None);
        }
        self.string().map(Some)
    }
    /// Hands each tagged field (number, bytes) to `f`; those that it does not know it leaves alone.
    pub fn each_tag(
        &mut self,
        mut f: impl FnMut(u32, &mut Reader<'a>) -> Result<(), String>,
    ) -> Result<(), String> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let n = self.uvarint()? as usize;
            f(tag, &mut Reader(self.take(n)?))?;
        }
        Ok(())
    }
    pub fn tags(&mut self) -> Result<(), String> {
        self.each_tag(|_, _| Ok(()))
    }
}
