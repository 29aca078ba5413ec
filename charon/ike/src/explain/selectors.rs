//! What would have to be among our traffic selectors.

use std::fmt::Write as _;

use strongswan::selectors::{PortRange, TrafficSelector};

/// Selectors shown of a list.
const SHOWN: usize = 8;

/// A selector as it is written in the configuration.
fn written(selector: &TrafficSelector) -> String {
    // the range of addresses that is no subnet has another form in log lines
    selector.to_string().replacen("..", "-", 1)
}

/// Selectors as they are written in the configuration.
pub(crate) fn text(selectors: &[TrafficSelector]) -> String {
    let mut text = String::new();
    for selector in selectors.iter().take(SHOWN) {
        let separator = if text.is_empty() { "" } else { ", " };
        // writing to a string does not fail
        let _ = write!(text, "{separator}{}", written(selector));
    }
    match selectors.len().checked_sub(SHOWN) {
        Some(0) | None if text.is_empty() => "none".to_owned(),
        Some(more) if more > 0 => format!("{text} and {more} more"),
        _ => text,
    }
}

/// The selector to add so that some of what the peer asks for fits; `None` if something does.
///
/// What a packet triggered comes first and is a part of what follows, so that the widest of those that begin the list
/// counts.
pub(crate) fn missing(configured: &[TrafficSelector], asked: &[TrafficSelector]) -> Option<String> {
    if asked.iter().any(|asked| configured.iter().any(|ours| ours.intersection(asked).is_some())) {
        return None;
    }
    let first = asked.first()?;
    let wider = asked.iter().skip(1).find(|other| other.contains(first) && other.ports() == PortRange::ANY);
    Some(written(wider.unwrap_or(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<TrafficSelector> {
        texts.iter().map(|text| TrafficSelector::parse(text).unwrap()).collect()
    }

    #[test]
    fn what_is_missing_can_be_added() {
        let ours = list(&["10.1.0.0/16"]);
        assert_eq!(missing(&ours, &list(&["10.0.0.0/8"])), None);
        assert_eq!(missing(&ours, &list(&["10.3.0.0/16", "10.4.0.0/16"])).unwrap(), "10.3.0.0/16");
        assert_eq!(missing(&ours, &list(&["10.3.0.7[tcp/443]", "10.3.0.0/16"])).unwrap(), "10.3.0.0/16");
        assert_eq!(
            missing(&list(&["10.1.0.0/16[tcp]"]), &list(&["10.1.0.0/16[udp/53]"])).unwrap(),
            "10.1.0.0/16[udp/domain]"
        );
        let range = missing(&ours, &list(&["10.3.0.1-10.3.0.9"])).unwrap();
        assert_eq!(list(&[&range]), list(&["10.3.0.1-10.3.0.9"]));
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(text(&[]), "none");
        assert_eq!(text(&list(&["10.1.0.0/16", "10.2.0.0/16"])), "10.1.0.0/16, 10.2.0.0/16");
        assert!(text(&[list(&["10.1.0.0/16"])[0]; 20]).ends_with(" and 12 more"));
    }
}
