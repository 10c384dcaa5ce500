//! ApiVersions (KIP-35), client side: the first answer that a client reads, from whatever listens there.
//! So every count is checked against the bytes that came before anything is reserved for it.

use bytes::Bytes;

use super::primitives::Reader;
use super::produce::DecodeError;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiVersions {
    pub error_code: i16,
    /// API key, lowest and highest version.
    pub apis: Vec<(i16, i16, i16)>,
}

const FIRST_FLEXIBLE: i16 = 3;

/// v0 to v4, the body alone; what follows the APIs (throttle time, features) is not read.
pub fn decode_response(version: i16, body: &Bytes) -> Result<ApiVersions, DecodeError> {
    let mut r = Reader::new(body, version >= FIRST_FLEXIBLE);
    let mut answer = ApiVersions { error_code: r.i16("error code")?, apis: Vec::new() };
    for _ in 0..r.count(6, "API count")? {
        answer.apis.push((r.i16("API key")?, r.i16("lowest version")?, r.i16("highest version")?));
        r.skip_tags()?;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let apis = vec![(3, 0, 13), (18, 0, 4)];
        let old = [0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 13, 0, 18, 0, 0, 0, 4];
        let found = decode_response(0, &Bytes::copy_from_slice(&old)).unwrap();
        assert_eq!(found, ApiVersions { error_code: 0, apis: apis.clone() });
        let new = [0, 35, 3, 0, 3, 0, 0, 0, 13, 0, 0, 18, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0];
        let found = decode_response(3, &Bytes::copy_from_slice(&new)).unwrap();
        assert_eq!(found, ApiVersions { error_code: 35, apis });
    }

    #[test]
    fn a_count_that_lies_reserves_nothing() {
        assert!(decode_response(0, &Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff])).is_err());
        assert!(decode_response(3, &Bytes::from_static(&[0xff; 64])).is_err());
        assert!(decode_response(3, &Bytes::new()).is_err());
    }
}
