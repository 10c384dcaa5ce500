//! Patterns and what RE2/J 1.8 (Kafka 4.3.1's) says of each, in `re2_cases.tsv`: the pattern, `ok` or the description of
//! what is wrong, and a letter for each topic that it matches as a whole.

use super::re2::translate;

const TOPICS: [&str; 15] = [
    "a", "b", "ab", "abc", "orders", "orders-1", "Orders", "_x", "a.b", "9", "a{2}", "aaa",
    "foo-bar", "[", "k",
];

fn verdict(pattern: &str) -> (String, String) {
    let translated = match translate(pattern) {
        Ok(translated) => translated,
        Err(refused) => return (refused.to_string(), String::new()),
    };
    let regex = match regex::Regex::new(&translated) {
        Ok(regex) => regex,
        Err(_) => return ("invalid character class range".to_string(), String::new()),
    };
    let matched = TOPICS.iter().zip('a'..).filter(|(topic, _)| regex.is_match(topic));
    ("ok".to_string(), matched.map(|(_, letter)| letter).collect())
}

#[test]
fn patterns_are_read_as_re2_reads_them() {
    let mut wrong = Vec::new();
    for line in include_str!("re2_cases.tsv").lines() {
        let mut parts = line.split('\t');
        let (pattern, says, matched) =
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let (ours, ours_matched) = verdict(pattern);
        if ours != says || ours_matched != matched {
            wrong.push(format!("{pattern}: {says} {matched}, ours {ours} {ours_matched}"));
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}
