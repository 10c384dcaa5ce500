//! `.txnindex`: the aborted transactions whose marker is in a segment (KIP-98), 34 bytes each in
//! Kafka's format. Spindle writes no transactions yet; it opens directories that Kafka wrote, and
//! compaction drops what was aborted. Pure: no I/O.

use crate::types::Offset;

const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AbortedTxn {
    pub producer_id: i64,
    /// First offset of the transaction's data.
    pub first_offset: Offset,
    /// Offset of its marker.
    pub last_offset: Offset,
    /// Of the log when the marker was written: no later index has a transaction that ends below.
    pub last_stable_offset: Offset,
}

pub(super) fn encode(transactions: &[AbortedTxn]) -> Vec<u8> {
    let mut out = Vec::with_capacity(transactions.len() * ENTRY_BYTES);
    for t in transactions {
        out.extend(VERSION.to_be_bytes());
        out.extend(t.producer_id.to_be_bytes());
        out.extend(t.first_offset.to_be_bytes());
        out.extend(t.last_offset.to_be_bytes());
        out.extend(t.last_stable_offset.to_be_bytes());
    }
    out
}

/// `Err` says what is wrong and at which byte: what was aborted must not be guessed.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<AbortedTxn>, (u64, String)> {
    let mut found: Vec<AbortedTxn> = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
    for (n, entry) in bytes.chunks(ENTRY_BYTES).enumerate() {
        let bad = |why: String| Err(((n * ENTRY_BYTES) as u64, why));
        let Some(entry) = entry.first_chunk::<ENTRY_BYTES>() else {
            return bad(format!("an entry of {} bytes instead of {ENTRY_BYTES}", entry.len()));
        };
        let version = i16::from_be_bytes([entry[0], entry[1]]);
        if version != VERSION {
            return bad(format!("version {version} is not {VERSION}"));
        }
        let field = |at: usize| {
            let mut raw = [0; 8];
            raw.copy_from_slice(&entry[at..at + 8]);
            i64::from_be_bytes(raw)
        };
        let txn = AbortedTxn {
            producer_id: field(2),
            first_offset: field(10),
            last_offset: field(18),
            last_stable_offset: field(26),
        };
        if txn.first_offset < 0 || txn.last_offset < txn.first_offset {
            return bad(format!("offsets {} to {}", txn.first_offset, txn.last_offset));
        }
        if found.last().is_some_and(|last| last.last_offset >= txn.last_offset) {
            return bad(format!("last offset {} is out of order", txn.last_offset));
        }
        found.push(txn);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txn(producer_id: i64, first_offset: Offset, last_offset: Offset) -> AbortedTxn {
        AbortedTxn { producer_id, first_offset, last_offset, last_stable_offset: last_offset + 1 }
    }

    #[test]
    fn kafkas_bytes() {
        // What Kafka's TransactionIndex writes for AbortedTxn(7, 10, 20, 21).
        let mut bytes = vec![0, 0];
        for field in [7i64, 10, 20, 21] {
            bytes.extend(field.to_be_bytes());
        }
        assert_eq!(decode(&bytes), Ok(vec![txn(7, 10, 20)]));
        assert_eq!(encode(&[txn(7, 10, 20)]), bytes);
        assert_eq!(decode(&[]), Ok(vec![]));
    }

    #[test]
    fn damage_is_an_error() {
        let good = encode(&[txn(1, 0, 5), txn(2, 3, 9)]);
        assert_eq!(decode(&good).unwrap().len(), 2);
        assert_eq!(decode(&good[..67]).unwrap_err().0, 34);
        let mut version = good.clone();
        version[35] = 1;
        assert_eq!(decode(&version).unwrap_err().0, 34);
        assert_eq!(decode(&encode(&[txn(1, 0, 9), txn(2, 3, 9)])).unwrap_err().0, 34);
        assert_eq!(decode(&encode(&[txn(1, 10, 9)])).unwrap_err().0, 0);
    }
}
