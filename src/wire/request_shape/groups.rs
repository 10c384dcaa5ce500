//! The requests of groups and committed offsets: their fields, as `request_shape` checks them.
//! Data only.

use super::{Array, Field};
use super::{BOOL, Bytes, END, Fixed, I16, I32, I64, Int32s, Request, Text, Texts, UUID, request};

const COMMITTED_PARTITIONS: &[Field] =
    &[(0, END, I32), (0, END, I64), (6, END, I32), (0, END, Text)];
const TXN_COMMITTED_PARTITIONS: &[Field] =
    &[(0, END, I32), (0, END, I64), (2, END, I32), (0, END, Text)];

pub(super) static REQUESTS: &[Request] = &[
    // OffsetCommit
    request(
        8,
        10,
        8,
        &[
            (0, END, Text),
            (1, END, I32),
            (1, END, Text),
            (7, END, Text),
            (2, 4, I64),
            (
                0,
                END,
                Array(&[(0, 9, Text), (10, END, UUID), (0, END, Array(COMMITTED_PARTITIONS))]),
            ),
        ],
    ),
    // OffsetFetch
    request(
        9,
        10,
        6,
        &[
            (0, 7, Text),
            (0, 7, Array(&[(0, END, Text), (0, END, Int32s)])),
            (
                8,
                END,
                Array(&[
                    (8, END, Text),
                    (9, END, Text),
                    (9, END, I32),
                    (8, END, Array(&[(8, 9, Text), (10, END, UUID), (8, END, Int32s)])),
                ]),
            ),
            (7, END, BOOL),
        ],
    ),
    // JoinGroup
    request(
        11,
        9,
        6,
        &[
            (0, END, Text),
            (0, END, I32),
            (1, END, I32),
            (0, END, Text),
            (5, END, Text),
            (0, END, Text),
            (0, END, Array(&[(0, END, Text), (0, END, Bytes)])),
            (8, END, Text),
        ],
    ),
    // Heartbeat
    request(12, 4, 4, &[(0, END, Text), (0, END, I32), (0, END, Text), (3, END, Text)]),
    // LeaveGroup
    request(
        13,
        5,
        4,
        &[
            (0, END, Text),
            (0, 2, Text),
            (3, END, Array(&[(3, END, Text), (3, END, Text), (5, END, Text)])),
        ],
    ),
    // SyncGroup
    request(
        14,
        5,
        4,
        &[
            (0, END, Text),
            (0, END, I32),
            (0, END, Text),
            (3, END, Text),
            (5, END, Text),
            (5, END, Text),
            (0, END, Array(&[(0, END, Text), (0, END, Bytes)])),
        ],
    ),
    // DescribeGroups
    request(15, 6, 5, &[(0, END, Texts), (3, END, BOOL)]),
    // ListGroups
    request(16, 5, 3, &[(4, END, Texts), (5, END, Texts)]),
    // TxnOffsetCommit
    request(
        28,
        5,
        3,
        &[
            (0, END, Text),
            (0, END, Text),
            (0, END, I64),
            (0, END, I16),
            (3, END, I32),
            (3, END, Text),
            (3, END, Text),
            (0, END, Array(&[(0, END, Text), (0, END, Array(TXN_COMMITTED_PARTITIONS))])),
        ],
    ),
    // DeleteGroups
    request(42, 2, 2, &[(0, END, Texts)]),
    // OffsetDelete
    request(
        47,
        0,
        END,
        &[(0, END, Text), (0, END, Array(&[(0, END, Text), (0, END, Array(&[(0, END, I32)]))]))],
    ),
    // ConsumerGroupHeartbeat
    request(
        68,
        1,
        0,
        &[
            (0, END, Text),
            (0, END, Text),
            (0, END, I32),
            (0, END, Text),
            (0, END, Text),
            (0, END, I32),
            (0, END, Texts),
            (1, END, Text),
            (0, END, Text),
            (0, END, Array(&[(0, END, Fixed(16)), (0, END, Int32s)])),
        ],
    ),
    // ConsumerGroupDescribe
    request(69, 1, 0, &[(0, END, Texts), (0, END, BOOL)]),
];
