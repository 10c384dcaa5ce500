//! What a record holds: made from (seed, lane, sequence) alone, so that the checker can make it
//! again and compare every byte. The value carries the lane, the sequence and a CRC-32.

use spindle::wire::records::{BatchBuilder, RecordView};

use crate::plan::LanePlan;

/// Lane, sequence, checksum.
const STAMP_BYTES: usize = 4 + 8 + 4;

#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    pub fn of(seed: u64, lane: u32, plan: &LanePlan, sequence: u64) -> Record {
        let mix = (seed << 20) ^ (u64::from(lane) << 40) ^ sequence;
        let mut rng = fastrand::Rng::with_seed(mix);
        let key = match rng.u8(..4) {
            0 => None,
            1 => Some(Vec::new()),
            _ => Some(sequence.to_be_bytes().to_vec()),
        };
        let len = rng.usize(plan.value_bytes.clone()).max(STAMP_BYTES);
        let mut value = vec![0; len];
        value[4..8].copy_from_slice(&lane.to_le_bytes());
        value[8..16].copy_from_slice(&sequence.to_le_bytes());
        rng.fill(&mut value[STAMP_BYTES..]);
        let crc = crc32fast::hash(&value[4..]);
        value[..4].copy_from_slice(&crc.to_le_bytes());
        let headers = match rng.u8(..6) {
            0 => vec![("n".to_string(), None), ("s".to_string(), Some(vec![1, 2, 3]))],
            _ => Vec::new(),
        };
        Record { key, value, headers }
    }

    pub fn push_to(&self, batch: &mut BatchBuilder, timestamp_ms: i64) {
        let headers: Vec<(&str, Option<&[u8]>)> =
            self.headers.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
        batch.push(timestamp_ms, self.key.as_deref(), Some(&self.value), &headers);
    }

    pub fn equals(&self, read: &RecordView<'_>) -> bool {
        let headers = read
            .header_pairs()
            .map(|(k, v)| (String::from_utf8_lossy(k).into_owned(), v.map(|bytes| bytes.to_vec())));
        self.key.as_deref() == read.key
            && Some(&self.value[..]) == read.value
            && headers.eq(self.headers.iter().cloned())
    }
}

/// (lane, sequence), when the value is whole.
pub fn stamp(value: Option<&[u8]>) -> Result<(u32, u64), String> {
    let value = value.ok_or("a null value")?;
    if value.len() < STAMP_BYTES {
        return Err(format!("a value of {} bytes", value.len()));
    }
    let crc = u32::from_le_bytes(value[..4].try_into().unwrap());
    if crc != crc32fast::hash(&value[4..]) {
        return Err("a value that fails its checksum".to_string());
    }
    let lane = u32::from_le_bytes(value[4..8].try_into().unwrap());
    Ok((lane, u64::from_le_bytes(value[8..16].try_into().unwrap())))
}
