//! The consumer protocol that classic members carry within JoinGroup and SyncGroup (protocol type "consumer"):
//! subscriptions v0-3 and assignments. What is longer than it should be is a newer version's and is passed over, as in
//! Kafka; what is shorter is refused. Client bytes: nothing is trusted.

use std::sync::Arc;

use bytes::Bytes;

pub const PROTOCOL_TYPE: &str = "consumer";

/// The newest version of both structures.
const VERSION_MAX: i16 = 3;

/// It ends too soon, or a length is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    pub version: i16,
    pub topics: Vec<Arc<str>>,
    /// v1 and later.
    pub owned: Vec<(Arc<str>, Vec<i32>)>,
    /// v3 and later.
    pub rack_id: Option<Arc<str>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmbeddedAssignment {
    pub partitions: Vec<(Arc<str>, Vec<i32>)>,
    /// Of an assignor that has more to say.
    pub has_user_data: bool,
}

impl Subscription {
    pub fn read(bytes: &[u8]) -> Result<Subscription, Malformed> {
        let mut reader = Reader(bytes);
        let version = reader.version()?;
        let topics = reader.list(Reader::text)?;
        reader.nullable_bytes()?;
        let owned = if version >= 1 { reader.list(Reader::topic)? } else { Vec::new() };
        if version >= 2 {
            reader.take(4)?;
        }
        let rack_id = if version >= 3 { reader.nullable_text()? } else { None };
        let rack_id = rack_id.filter(|rack| !rack.is_empty());
        Ok(Subscription { version, topics, owned, rack_id })
    }
}

impl EmbeddedAssignment {
    /// No bytes: a member that has none yet.
    pub fn read(bytes: &[u8]) -> Result<EmbeddedAssignment, Malformed> {
        if bytes.is_empty() {
            return Ok(EmbeddedAssignment::default());
        }
        let mut reader = Reader(bytes);
        reader.version()?;
        let partitions = reader.list(Reader::topic)?;
        let has_user_data = reader.nullable_bytes()?.is_some_and(|data| !data.is_empty());
        Ok(EmbeddedAssignment { partitions, has_user_data })
    }
}

/// For a member whose subscription has this version.
pub fn write_assignment<'a>(
    version: i16,
    topics: impl ExactSizeIterator<Item = (&'a str, &'a [i32])>,
) -> Bytes {
    let mut out = Vec::with_capacity(64);
    out.extend(version.clamp(0, VERSION_MAX).to_be_bytes());
    out.extend((topics.len() as i32).to_be_bytes());
    for (name, partitions) in topics {
        let length = i16::try_from(name.len()).expect("a topic's name has at most 249 bytes");
        out.extend(length.to_be_bytes());
        out.extend(name.as_bytes());
        out.extend((partitions.len() as i32).to_be_bytes());
        for partition in partitions {
            out.extend(partition.to_be_bytes());
        }
    }
    out.extend((-1i32).to_be_bytes());
    Bytes::from(out)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into().expect("two bytes")))
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    /// One that is newer than ours is read as ours.
    fn version(&mut self) -> Result<i16, Malformed> {
        match self.i16()? {
            ..0 => Err(Malformed),
            version => Ok(version.min(VERSION_MAX)),
        }
    }

    fn nullable_text(&mut self) -> Result<Option<Arc<str>>, Malformed> {
        match self.i16()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                let text = std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)?;
                Ok(Some(text.into()))
            }
        }
    }

    fn text(&mut self) -> Result<Arc<str>, Malformed> {
        self.nullable_text()?.ok_or(Malformed)
    }

    fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            length => self.take(usize::try_from(length).map_err(|_| Malformed)?).map(Some),
        }
    }

    fn list<T>(
        &mut self,
        element: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = usize::try_from(self.i32()?).map_err(|_| Malformed)?;
        // Each element has at least two bytes.
        if count > self.0.len() / 2 {
            return Err(Malformed);
        }
        (0..count).map(|_| element(self)).collect()
    }

    fn topic(&mut self) -> Result<(Arc<str>, Vec<i32>), Malformed> {
        Ok((self.text()?, self.list(Reader::i32)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(version: i16) -> Vec<u8> {
        let mut out = version.to_be_bytes().to_vec();
        out.extend([0, 0, 0, 1, 0, 1, b't']);
        out.extend([0xff; 4]);
        if version >= 1 {
            out.extend([0, 0, 0, 1, 0, 1, b'o', 0, 0, 0, 1, 0, 0, 0, 7]);
        }
        if version >= 2 {
            out.extend([0, 0, 0, 5]);
        }
        if version >= 3 {
            out.extend([0, 1, b'r']);
        }
        out
    }

    #[test]
    fn every_version_of_a_subscription_is_read() {
        for version in 0..=3 {
            let read = Subscription::read(&subscription(version)).unwrap();
            assert_eq!(read.topics, ["t".into()]);
            assert_eq!(read.owned.len(), usize::from(version >= 1));
            assert_eq!(read.rack_id.as_deref(), (version >= 3).then_some("r"));
        }
        let mut newer = subscription(3);
        newer[1] = 9;
        newer.extend([1, 2, 3]);
        assert_eq!(Subscription::read(&newer).unwrap().version, 3);
    }

    #[test]
    fn what_ends_too_soon_is_refused() {
        let whole = subscription(3);
        for cut in 0..whole.len() {
            assert_eq!(Subscription::read(&whole[..cut]), Err(Malformed), "cut at {cut}");
        }
        assert_eq!(Subscription::read(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), Err(Malformed));
    }

    #[test]
    fn an_assignment_comes_back() {
        let bytes = write_assignment(1, [("t", &[1, 2][..]), ("u", &[])].into_iter());
        let read = EmbeddedAssignment::read(&bytes).unwrap();
        assert_eq!(read.partitions, [("t".into(), vec![1, 2]), ("u".into(), vec![])]);
        assert!(!read.has_user_data);
    }
}
