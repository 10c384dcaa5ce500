//! The requests of administrators that are not about topics or groups: their fields, as
//! `request_shape` checks them. Data only.

use super::request;
use super::{Array, BOOL, END, Fixed, I16, I32, I64, Int8s, Int32s, Int64s, Request, Text, Texts};

pub(super) static REQUESTS: &[Request] = &[
    // ElectLeaders
    request(
        43,
        2,
        2,
        &[(1, END, Fixed(1)), (0, END, Array(&[(0, END, Text), (0, END, Int32s)])), (0, END, I32)],
    ),
    // AlterPartitionReassignments
    request(
        45,
        1,
        0,
        &[
            (0, END, I32),
            (1, END, BOOL),
            (0, END, Array(&[(0, END, Text), (0, END, Array(&[(0, END, I32), (0, END, Int32s)]))])),
        ],
    ),
    // ListPartitionReassignments
    request(46, 0, 0, &[(0, END, I32), (0, END, Array(&[(0, END, Text), (0, END, Int32s)]))]),
    // DescribeClientQuotas
    request(
        48,
        1,
        1,
        &[(0, END, Array(&[(0, END, Text), (0, END, Fixed(1)), (0, END, Text)])), (0, END, BOOL)],
    ),
    // AlterClientQuotas
    request(
        49,
        1,
        1,
        &[
            (
                0,
                END,
                Array(&[
                    (0, END, Array(&[(0, END, Text), (0, END, Text)])),
                    (0, END, Array(&[(0, END, Text), (0, END, Fixed(8)), (0, END, BOOL)])),
                ]),
            ),
            (0, END, BOOL),
        ],
    ),
    // DescribeUserScramCredentials
    request(50, 0, 0, &[(0, END, Array(&[(0, END, Text)]))]),
    // DescribeQuorum
    request(55, 2, 0, &[(0, END, Array(&[(0, END, Text), (0, END, Array(&[(0, END, I32)]))]))]),
    // UpdateFeatures
    request(
        57,
        2,
        0,
        &[
            (0, END, I32),
            (0, END, Array(&[(0, END, Text), (0, END, I16), (0, 0, BOOL), (1, END, Fixed(1))])),
            (1, END, BOOL),
        ],
    ),
    // UnregisterBroker
    request(64, 0, 0, &[(0, END, I32)]),
    // DescribeTransactions
    request(65, 0, 0, &[(0, END, Texts)]),
    // ListTransactions
    request(66, 2, 0, &[(0, END, Texts), (0, END, Int64s), (1, END, I64), (2, END, Text)]),
    // ListConfigResources
    request(74, 1, 0, &[(1, END, Int8s)]),
];
