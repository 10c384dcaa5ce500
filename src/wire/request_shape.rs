//! What a request's bytes look like, checked before the `kafka-protocol` crate decodes them: that
//! crate reserves memory for an array by the count the client claims, so one lying count of four
//! bytes would end the process. After this check every counted element is really there.
//! Nullability is not checked here: the decoder does that. Produce and Fetch have own decoders.

mod admin;
mod groups;

use super::primitives::Reader;
use super::produce::DecodeError;

enum Shape {
    Fixed(usize),
    Text,
    Bytes,
    Int8s,
    Int32s,
    Int64s,
    Texts,
    Array(&'static [Field]),
    /// One byte, negative for null, before the struct.
    NullableStruct(&'static [Field]),
}

use Shape::{Array, Bytes, Fixed, Int8s, Int32s, Int64s, NullableStruct, Text, Texts};

/// First and last version that has the field.
type Field = (i16, i16, Shape);

const END: i16 = i16::MAX;
const BOOL: Shape = Fixed(1);
const I16: Shape = Fixed(2);
const I32: Shape = Fixed(4);
const I64: Shape = Fixed(8);
const UUID: Shape = Fixed(16);

struct Request {
    api_key: i16,
    version_max: i16,
    first_flexible: i16,
    fields: &'static [Field],
}

const fn request(
    api_key: i16,
    version_max: i16,
    first_flexible: i16,
    fields: &'static [Field],
) -> Request {
    Request { api_key, version_max, first_flexible, fields }
}

/// Configs of CreateTopics, AlterConfigs: name and value.
const CONFIGS: &[Field] = &[(0, END, Text), (0, END, Text)];

static REQUESTS: &[Request] = &[
    // ListOffsets
    request(
        2,
        11,
        6,
        &[
            (0, END, I32),
            (2, END, Fixed(1)),
            (
                0,
                END,
                Array(&[
                    (0, END, Text),
                    (0, END, Array(&[(0, END, I32), (4, END, I32), (0, END, I64)])),
                ]),
            ),
            (10, END, I32),
        ],
    ),
    // Metadata
    request(
        3,
        13,
        9,
        &[
            (0, END, Array(&[(10, END, UUID), (0, END, Text)])),
            (4, END, BOOL),
            (8, 10, BOOL),
            (8, END, BOOL),
        ],
    ),
    // ApiVersions
    request(18, 4, 3, &[(3, END, Text), (3, END, Text)]),
    // CreateTopics
    request(
        19,
        7,
        5,
        &[
            (
                0,
                END,
                Array(&[
                    (0, END, Text),
                    (0, END, I32),
                    (0, END, I16),
                    (0, END, Array(&[(0, END, I32), (0, END, Int32s)])),
                    (0, END, Array(CONFIGS)),
                ]),
            ),
            (0, END, I32),
            (0, END, BOOL),
        ],
    ),
    // DeleteTopics
    request(
        20,
        6,
        4,
        &[(6, END, Array(&[(0, END, Text), (0, END, UUID)])), (0, 5, Texts), (0, END, I32)],
    ),
    // DeleteRecords
    request(
        21,
        2,
        2,
        &[
            (0, END, Array(&[(0, END, Text), (0, END, Array(&[(0, END, I32), (0, END, I64)]))])),
            (0, END, I32),
        ],
    ),
    // InitProducerId
    request(22, 5, 2, &[(0, END, Text), (0, END, I32), (3, END, I64), (3, END, I16)]),
    // FindCoordinator
    request(10, 6, 3, &[(0, 3, Text), (1, END, Fixed(1)), (4, END, Texts)]),
    // OffsetForLeaderEpoch
    request(
        23,
        4,
        4,
        &[
            (3, END, I32),
            (
                0,
                END,
                Array(&[
                    (0, END, Text),
                    (0, END, Array(&[(0, END, I32), (2, END, I32), (0, END, I32)])),
                ]),
            ),
        ],
    ),
    // DescribeConfigs
    request(
        32,
        4,
        4,
        &[
            (0, END, Array(&[(0, END, Fixed(1)), (0, END, Text), (0, END, Texts)])),
            (1, END, BOOL),
            (3, END, BOOL),
        ],
    ),
    // AlterConfigs
    request(
        33,
        2,
        2,
        &[
            (0, END, Array(&[(0, END, Fixed(1)), (0, END, Text), (0, END, Array(CONFIGS))])),
            (0, END, BOOL),
        ],
    ),
    // DescribeLogDirs
    request(35, 5, 2, &[(0, END, Array(&[(0, END, Text), (0, END, Int32s)]))]),
    // CreatePartitions
    request(
        37,
        3,
        2,
        &[
            (0, END, Array(&[(0, END, Text), (0, END, I32), (0, END, Array(&[(0, END, Int32s)]))])),
            (0, END, I32),
            (0, END, BOOL),
        ],
    ),
    // IncrementalAlterConfigs
    request(
        44,
        1,
        1,
        &[
            (
                0,
                END,
                Array(&[
                    (0, END, Fixed(1)),
                    (0, END, Text),
                    (0, END, Array(&[(0, END, Text), (0, END, Fixed(1)), (0, END, Text)])),
                ]),
            ),
            (0, END, BOOL),
        ],
    ),
    // DescribeCluster
    request(60, 2, 0, &[(0, END, BOOL), (1, END, Fixed(1)), (2, END, BOOL)]),
    // DescribeProducers
    request(61, 0, 0, &[(0, END, Array(&[(0, END, Text), (0, END, Int32s)]))]),
    // DescribeTopicPartitions
    request(
        75,
        0,
        0,
        &[
            (0, END, Array(&[(0, END, Text)])),
            (0, END, I32),
            (0, END, NullableStruct(&[(0, END, Text), (0, END, I32)])),
        ],
    ),
];

/// Ok for an API or a version that is not in the table: what is not served is not decoded.
pub(super) fn check(api_key: i16, version: i16, body: &bytes::Bytes) -> Result<(), DecodeError> {
    let mut all = REQUESTS.iter().chain(groups::REQUESTS).chain(admin::REQUESTS);
    let Some(request) = all.find(|r| r.api_key == api_key) else { return Ok(()) };
    if !(0..=request.version_max).contains(&version) {
        return Ok(());
    }
    let mut reader = Reader::new(body, version >= request.first_flexible);
    check_fields(request.fields, version, &mut reader)
}

fn check_fields(fields: &[Field], version: i16, r: &mut Reader<'_>) -> Result<(), DecodeError> {
    for (from, to, shape) in fields {
        if !(*from..=*to).contains(&version) {
            continue;
        }
        match shape {
            Fixed(len) => r.skip(*len, "field")?,
            Text => drop(r.nullable_string("string")?),
            Bytes => drop(r.nullable_bytes("bytes")?),
            Int8s => numbers(1, r)?,
            Int32s => numbers(4, r)?,
            Int64s => numbers(8, r)?,
            Texts => {
                for _ in 0..r.nullable_count(1, "array count")?.unwrap_or(0) {
                    r.nullable_string("string")?;
                }
            }
            Array(element) => {
                for _ in 0..r.nullable_count(1, "array count")?.unwrap_or(0) {
                    check_fields(element, version, r)?;
                }
            }
            NullableStruct(inner) => {
                if r.i8("struct marker")? >= 0 {
                    check_fields(inner, version, r)?;
                }
            }
        }
    }
    r.skip_tags()
}

fn numbers(size: usize, r: &mut Reader<'_>) -> Result<(), DecodeError> {
    let count = r.nullable_count(size, "array count")?.unwrap_or(0);
    r.skip(count * size, "array")
}
