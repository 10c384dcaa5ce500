//! Kafka's error codes by name (org.apache.kafka.common.protocol.Errors). Only `api` and `wire`
//! name them.
