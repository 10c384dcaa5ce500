//! What each record carries in its value so that the far end can check it and time it: run, producer,
//! partition, sequence number, intended send time, and a CRC-32 over all of the value.
//! Layout, little endian: crc 4, run 4, producer 4, partition 4, sequence 8, intended_ns 8, payload.
//! The checksum runs over the payload first and the stamp after it, so that a payload that is used
//! many times is summed once and a record costs the producer 28 bytes of CRC.

pub const STAMP_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Tells this run's records from those of another run in the same topic.
    pub run: u32,
    pub producer: u32,
    pub partition: u32,
    /// Counts from 0 for each (producer, partition).
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
    /// Writes the stamp over the first bytes of `value`; `payload_crc` is `payload_crc(value)`.
    pub fn write(&self, value: &mut [u8], payload_crc: u32) {
        let payload_bytes = (value.len() - STAMP_BYTES) as u64;
        let fields = &mut value[4..STAMP_BYTES];
        fields[..4].copy_from_slice(&self.run.to_le_bytes());
        fields[4..8].copy_from_slice(&self.producer.to_le_bytes());
        fields[8..12].copy_from_slice(&self.partition.to_le_bytes());
        fields[12..20].copy_from_slice(&self.sequence.to_le_bytes());
        fields[20..28].copy_from_slice(&self.intended_ns.to_le_bytes());
        let mut sum = crc32fast::Hasher::new_with_initial_len(payload_crc, payload_bytes);
        sum.update(fields);
        let crc = sum.finalize();
        value[..4].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads and checks the whole value.
    pub fn read(value: &[u8]) -> Result<Stamp, StampError> {
        let Some(head) = value.first_chunk::<STAMP_BYTES>() else {
            return Err(StampError::TooShort);
        };
        let mut sum = crc32fast::Hasher::new();
        sum.update(&value[STAMP_BYTES..]);
        sum.update(&head[4..]);
        if sum.finalize() != u32_at(head, 0) {
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

/// CRC-32 of what follows the stamp.
pub fn payload_crc(value: &[u8]) -> u32 {
    crc32fast::hash(&value[STAMP_BYTES..])
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

    #[test]
    fn survives_the_trip_at_any_size() {
        for size in [STAMP_BYTES, STAMP_BYTES + 1, 1024] {
            let mut value: Vec<u8> = (0..size).map(|i| i as u8).collect();
            let crc = payload_crc(&value);
            STAMP.write(&mut value, crc);
            assert_eq!(Stamp::read(&value), Ok(STAMP));
        }
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let mut value = vec![0x5a; 100];
        let crc = payload_crc(&value);
        STAMP.write(&mut value, crc);
        for bit in 0..value.len() * 8 {
            value[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Stamp::read(&value), Err(StampError::Checksum), "bit {bit}");
            value[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(Stamp::read(&value[..31]), Err(StampError::TooShort));
    }
}
