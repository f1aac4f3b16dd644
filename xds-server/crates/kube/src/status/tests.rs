use std::time::Duration;

use windrose_api::declared::backend::ObjectReference;

use super::*;

fn accepted(status: bool) -> Condition {
    Condition { kind: "Accepted", status, reason: "Accepted".into(), message: String::new() }
}

fn parent(name: &str) -> ParentRef {
    let target = ObjectReference { group: "gateway.networking.k8s.io".into(), kind: "Gateway".into(), namespace: None, name: name.into() };
    ParentRef { target, section: None, port: None }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn what_stands_there_is_not_written_again_and_a_state_keeps_its_time() {
    let status = Status::Parents(vec![(parent("edge"), vec![accepted(true)])]);
    let first = render(&status, &Value::Null, 1, at(0)).unwrap();
    assert_eq!(first["parents"][0]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:00Z");
    assert_eq!(render(&status, &first, 1, at(60)), None);
    let next = render(&status, &first, 2, at(60)).unwrap();
    assert_eq!(next["parents"][0]["conditions"][0]["observedGeneration"], 2);
    assert_eq!(next["parents"][0]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:00Z", "the state is the same");
    let refused = Status::Parents(vec![(parent("edge"), vec![accepted(false)])]);
    let next = render(&refused, &next, 2, at(90)).unwrap();
    assert_eq!(next["parents"][0]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:01:30Z");
}

#[test]
fn from_where_an_address_is_reached_is_told_where_that_was_asked_for() {
    let status = |routability| {
        let addresses = Some(vec![Address { kind: "IPAddress", value: "10.96.0.9".into(), routability }]);
        let status = Status::Listeners { conditions: Vec::new(), listeners: Vec::new(), addresses, sets: None };
        render(&status, &Value::Null, 1, at(0)).unwrap()["addresses"][0].clone()
    };
    assert_eq!(status(None), json!({"type": "IPAddress", "value": "10.96.0.9"}));
    assert_eq!(status(Some("Cluster")), json!({"type": "IPAddress", "value": "10.96.0.9", "routability": "Cluster"}));
}

#[test]
fn what_others_wrote_stays_and_what_we_no_longer_say_goes() {
    let former = json!({"parents": [
        {"parentRef": {"name": "other"}, "controllerName": "example.com/other", "conditions": []},
        {"parentRef": reference(&parent("gone")), "controllerName": CONTROLLER, "conditions": []},
        {"parentRef": reference(&parent("edge")), "controllerName": CONTROLLER, "conditions": [
            {"type": "example.com/Scanned", "status": "True"}, {"type": "PartiallyInvalid", "status": "True"},
        ]},
    ]});
    let status = Status::Parents(vec![(parent("edge"), vec![accepted(true)])]);
    let next = render(&status, &former, 1, at(0)).unwrap();
    let parents = next["parents"].as_array().unwrap();
    assert_eq!(parents.len(), 2);
    assert_eq!(parents[0]["controllerName"], "example.com/other");
    let types: Vec<_> = parents[1]["conditions"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["example.com/Scanned", "Accepted"]);
}

#[test]
fn an_order_that_another_controller_wrote_is_no_reason_to_write() {
    let status = Status::Parents(vec![(parent("one"), vec![accepted(true)]), (parent("two"), vec![accepted(true)])]);
    let mut written = render(&status, &Value::Null, 1, at(0)).unwrap();
    let foreign = json!({"parentRef": {"name": "other"}, "controllerName": "example.com/other", "conditions": []});
    let all = written["parents"].as_array_mut().unwrap();
    all.swap(0, 1);
    all.insert(1, foreign.clone());
    assert_eq!(render(&status, &written, 1, at(60)), None);
    written["parents"][2]["conditions"].as_array_mut().unwrap().insert(0, json!({"type": "example.com/Scanned", "status": "True"}));
    assert_eq!(render(&status, &written, 1, at(60)), None);
    let less = Status::Parents(vec![(parent("one"), vec![accepted(true)])]);
    let next = render(&less, &written, 1, at(60)).unwrap();
    assert_eq!((&next["parents"][0], next["parents"].as_array().unwrap().len()), (&foreign, 2));
}

#[test]
fn a_policy_with_more_ancestors_than_there_is_room_for_leaves_those_of_others() {
    let foreign = json!({"ancestorRef": {"name": "x"}, "controllerName": "example.com/other", "conditions": []});
    let ours = (0..20).map(|index| (parent(&format!("edge-{index}")), vec![accepted(true)])).collect();
    let next = render(&Status::Ancestors(ours), &json!({"ancestors": [foreign.clone()]}), 1, at(0)).unwrap();
    let ancestors = next["ancestors"].as_array().unwrap();
    assert_eq!((ancestors.len(), &ancestors[0]), (16, &foreign));
}
