//! DescribeTransactions (65), v0, and ListTransactions (66), v0-v2 (KIP-664): there are no transactions yet, so none
//! is listed and none is found.

use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ListTransactionsRequest,
    ListTransactionsResponse,
};

use crate::wire::error_code;

const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

pub fn describe(request: DescribeTransactionsRequest) -> DescribeTransactionsResponse {
    let row = |id| {
        TransactionState::default()
            .with_transactional_id(id)
            .with_error_code(error_code::TRANSACTIONAL_ID_NOT_FOUND)
    };
    DescribeTransactionsResponse::default()
        .with_transaction_states(request.transactional_ids.into_iter().map(row).collect())
}

pub fn list(request: ListTransactionsRequest) -> ListTransactionsResponse {
    let unknown = request.state_filters.into_iter().filter(|s| !STATES.contains(&s.as_str()));
    ListTransactionsResponse::default().with_unknown_state_filters(unknown.collect())
}
