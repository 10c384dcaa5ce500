//! DescribeUserScramCredentials (50), v0 (KIP-554): there is no SASL/SCRAM here yet, so nobody has credentials: of all
//! users there are none, and a user that is named is not found, in Kafka's words (its ScramImage).

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_user_scram_credentials_response as response;
use kafka_protocol::messages::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::wire::error_code::{DUPLICATE_RESOURCE, RESOURCE_NOT_FOUND};

pub fn handle(
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let mut named: BTreeMap<StrBytes, usize> = BTreeMap::new();
    for user in request.users.into_iter().flatten() {
        *named.entry(user.name).or_default() += 1;
    }
    let row = |(user, times): (StrBytes, usize)| {
        let (code, why) = match times {
            1 => (
                RESOURCE_NOT_FOUND,
                format!("Attempt to describe a user credential that does not exist: {user}"),
            ),
            _ => (
                DUPLICATE_RESOURCE,
                format!(
                    "Cannot describe SCRAM credentials for the same user twice in a single request: {user}"
                ),
            ),
        };
        response::DescribeUserScramCredentialsResult::default()
            .with_user(user)
            .with_error_code(code)
            .with_error_message(Some(StrBytes::from_string(why)))
    };
    DescribeUserScramCredentialsResponse::default()
        .with_error_message(Some(StrBytes::default()))
        .with_results(named.into_iter().map(row).collect())
}
