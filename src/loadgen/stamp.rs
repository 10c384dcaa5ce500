//! What each record carries in its value so that the far end can check it and time it: run, producer,
//! lane, sequence number, intended send time, and a CRC-32 over all of the value, the key and the headers.
//! Layout, little endian: crc 4, run 4, producer 4, lane 4, sequence 8, intended_ns 8, payload.
//! The checksum runs over the payload first, then the stamp, key and encoded headers, so that a payload
//! that is used many times is summed once and a record costs the producer 28 bytes of CRC and those of its key.

pub const STAMP_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Tells this run's records from those of another run in the same topic.
    pub run: u32,
    pub producer: u32,
    /// Index into `Layout::places`.
    pub partition: u32,
    /// Counts from 0 for each (producer, lane).
    pub sequence: u64,
    /// `runtime::now()` at which the record was due to be sent.
    pub intended_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampError {
    TooShort,
    Checksum,
}

impl Stamp {
    /// The first bytes of a value whose payload has this length and CRC-32; `beside` are the record's key and its
    /// encoded headers, empty when there are none.
    pub fn head(
        &self,
        payload_bytes: usize,
        payload_crc: u32,
        beside: [&[u8]; 2],
    ) -> [u8; STAMP_BYTES] {
        let mut head = [0; STAMP_BYTES];
        head[4..8].copy_from_slice(&self.run.to_le_bytes());
        head[8..12].copy_from_slice(&self.producer.to_le_bytes());
        head[12..16].copy_from_slice(&self.partition.to_le_bytes());
        head[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        head[24..32].copy_from_slice(&self.intended_ns.to_le_bytes());
        let payload = crc32fast::Hasher::new_with_initial_len(payload_crc, payload_bytes as u64);
        let crc = finish(payload, &head, beside);
        head[..4].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// Whose record a value says it is; nothing is checked. `None`: it is too short for a stamp.
    pub fn claimed_run(value: &[u8]) -> Option<u32> {
        value.first_chunk::<STAMP_BYTES>().map(|head| u32_at(head, 4))
    }

    /// Reads and checks the whole value and what is beside it.
    pub fn read(value: &[u8], beside: [&[u8]; 2]) -> Result<Stamp, StampError> {
        let Some((head, payload)) = value.split_first_chunk::<STAMP_BYTES>() else {
            return Err(StampError::TooShort);
        };
        let mut sum = crc32fast::Hasher::new();
        sum.update(payload);
        if finish(sum, head, beside) != u32_at(head, 0) {
            return Err(StampError::Checksum);
        }
        Ok(Stamp {
            run: u32_at(head, 4),
            producer: u32_at(head, 8),
            partition: u32_at(head, 12),
            sequence: u64_at(head, 16),
            intended_ns: u64_at(head, 24),
        })
    }
}

/// Over the stamp's fields, the key and the headers, when the payload is in `sum`.
fn finish(mut sum: crc32fast::Hasher, head: &[u8; STAMP_BYTES], beside: [&[u8]; 2]) -> u32 {
    sum.update(&head[4..]);
    for part in beside.into_iter().filter(|part| !part.is_empty()) {
        sum.update(part);
    }
    sum.finalize()
}

fn u32_at(head: &[u8; STAMP_BYTES], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&head[at..at + 4]);
    u32::from_le_bytes(raw)
}

fn u64_at(head: &[u8; STAMP_BYTES], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&head[at..at + 8]);
    u64::from_le_bytes(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp =
        Stamp { run: 7, producer: 3, partition: 11, sequence: 1 << 40, intended_ns: 99 };

    fn stamped(payload: &[u8], beside: [&[u8]; 2]) -> Vec<u8> {
        let head = STAMP.head(payload.len(), crc32fast::hash(payload), beside);
        [&head[..], payload].concat()
    }

    #[test]
    fn survives_the_trip_at_any_size() {
        for size in [0, 1, 992] {
            let payload: Vec<u8> = (0..size).map(|i| i as u8).collect();
            for beside in [[&b""[..], b""], [b"key", b""], [b"", b"headers"], [b"key", b"headers"]]
            {
                assert_eq!(Stamp::read(&stamped(&payload, beside), beside), Ok(STAMP));
                assert_eq!(Stamp::claimed_run(&stamped(&payload, beside)), Some(7));
            }
        }
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let key = *b"0000000000000007";
        let headers = *b"\x04h0\x02x";
        let mut value = stamped(&[0x5a; 68], [&key, &headers]);
        for bit in 0..value.len() * 8 {
            value[bit / 8] ^= 1 << (bit % 8);
            let read = Stamp::read(&value, [&key, &headers]);
            assert_eq!(read, Err(StampError::Checksum), "bit {bit}");
            value[bit / 8] ^= 1 << (bit % 8);
        }
        let mut other = key;
        for bit in 0..key.len() * 8 {
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Stamp::read(&value, [&other, &headers]), Err(StampError::Checksum));
            other[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(Stamp::read(&value, [&key, b""]), Err(StampError::Checksum));
        assert_eq!(Stamp::read(&value[..31], [&key, &headers]), Err(StampError::TooShort));
    }
}
