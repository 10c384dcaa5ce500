//! Which strings are topic names, and which of them belong to the broker itself.

/// A name becomes part of a directory name, whose limit is 255 bytes.
pub const LENGTH_MAX: usize = 249;

/// Err is the sentence for the client.
pub fn validate(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty() {
        Err("Topic name is invalid: it is empty".to_string())
    } else if name == "." || name == ".." {
        Err(format!("Topic name is invalid: it can't be '{name}'"))
    } else if name.len() > LENGTH_MAX {
        Err(format!("Topic name is invalid: it has {} bytes, the most is {LENGTH_MAX}", name.len()))
    } else if !name.bytes().all(allowed) {
        Err(format!(
            "Topic name is invalid: '{name}' has characters other than ASCII letters, digits, \
             '.', '_' and '-'"
        ))
    } else {
        Ok(())
    }
}

/// Kafka's own topics, and Spindle's; consumers with a pattern skip them by default.
pub fn is_internal(name: &str) -> bool {
    matches!(
        name,
        "__consumer_offsets"
            | "__transaction_state"
            | "__share_group_state"
            | "__spindle_group_events"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let longest = "a".repeat(LENGTH_MAX);
        for good in ["a", "a.b_c-D9", "...", "__consumer_offsets", longest.as_str()] {
            assert_eq!(validate(good), Ok(()));
        }
        let too_long = "a".repeat(LENGTH_MAX + 1);
        for bad in ["", ".", "..", "a b", "a/b", "\u{e9}", "a\0", too_long.as_str()] {
            assert!(validate(bad).is_err(), "{bad:?}");
        }
    }
}
