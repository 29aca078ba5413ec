//! Why a negotiation failed, as clients of `initiate` get it.

use ike::explain::{Explanation, Mismatch};
use vici::Message;

/// The section `explanation` of a failure: what failed, and `mismatches` with one numbered section for each thing that
/// did not fit, the likeliest first. `theirs` and `why` are left out where they are not known.
pub(in crate::control) fn explanation(explanation: &Explanation) -> Message {
    let mut mismatches = Message::new();
    for (number, shown) in (1_u32..).zip(&explanation.mismatches) {
        mismatches.push_section(number.to_string(), mismatch(shown));
    }
    let mut message = Message::new();
    message
        .push("text", explanation.to_string())
        .push("stage", explanation.stage.to_string())
        .push_some("peer", explanation.peer.map(|peer| peer.to_string()));
    message.with_section("mismatches", mismatches)
}

fn mismatch(mismatch: &Mismatch) -> Message {
    let field = &mismatch.field;
    let mut message = Message::new();
    message
        .push("field", field.to_string())
        .push("topic", field.topic.name())
        .push_some("connection", field.connection())
        .push_some("child", field.child())
        .push("ours", mismatch.ours.as_str())
        .push_some("theirs", mismatch.theirs.as_deref())
        .push_some("why", mismatch.why.as_deref())
        .push("action", mismatch.change.action())
        .push("value", mismatch.change.value())
        .push("advice", mismatch.advice());
    message
}

#[cfg(test)]
mod tests {
    use ike::explain::{Cause, Change, Field, Place, Stage, Topic};
    use ike::wire::NotifyType;

    use super::*;

    #[test]
    fn every_part_has_its_key() {
        let field = Field::new(Topic::TrafficSelector, Place::Child("gw".into(), "net".into()), "local_ts");
        let mismatch = Mismatch {
            field,
            ours: "10.1.0.0/16".to_owned(),
            theirs: Some("10.3.0.0/16".to_owned()),
            why: None,
            change: Change::Add("10.3.0.0/16".to_owned()),
        };
        let cause = Cause::PeerRefused(NotifyType::TsUnacceptable);
        let peer = "192.0.2.2".parse().ok();
        let message = explanation(&Explanation { stage: Stage::Child, cause, peer, mismatches: vec![mismatch] });
        assert_eq!(
            message.str("text"),
            Some("CHILD_SA with 192.0.2.2 failed, the peer refused it with TS_UNACCEPTABLE")
        );
        let first = message.section("mismatches").and_then(|all| all.section("1")).unwrap();
        let keys: Vec<_> =
            first.scalars().map(|(key, value)| format!("{key}={}", String::from_utf8_lossy(value))).collect();
        assert_eq!(
            keys.join("\n"),
            "field=connections.gw.children.net.local_ts\ntopic=traffic-selector\nconnection=gw\nchild=net\n\
             ours=10.1.0.0/16\ntheirs=10.3.0.0/16\naction=add\nvalue=10.3.0.0/16\n\
             advice=add 10.3.0.0/16 to connections.gw.children.net.local_ts"
        );
    }
}
