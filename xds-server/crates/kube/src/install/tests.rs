use std::collections::BTreeSet;
use std::path::Path;

use super::*;

fn kinds(objects: &[Value]) -> Vec<&str> {
    objects.iter().filter_map(|object| object["kind"].as_str()).collect()
}

fn named(objects: &[Value]) -> Vec<String> {
    let name = |object: &Value| format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
    objects.iter().map(name).collect()
}

#[test]
fn definitions_come_first_and_do_not_go_with_the_rest() {
    let options = Options { webhook: true, ..Options::default() };
    let there = objects(&options);
    let first = kinds(&there).into_iter().position(|kind| kind != "CustomResourceDefinition").unwrap();
    assert_eq!(first, definitions().len());
    assert_eq!(
        kinds(&there)[first..],
        [
            "Namespace",
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "Service",
            "PodDisruptionBudget",
            "Deployment",
            "GatewayClass",
            "ValidatingWebhookConfiguration",
        ]
    );
    let gone = removal(&options);
    assert_eq!(kinds(&gone)[..3], ["ValidatingWebhookConfiguration", "GatewayClass", "Deployment"], "who acts on objects goes first");
    let stays = first + 1;
    assert_eq!(kinds(&there)[first], "Namespace", "in which things are declared that are not ours to take away");
    let (mut there, mut gone) = (named(&there[stays..]), named(&gone));
    there.extend(["Lease/windrose-leader".to_owned(), "Secret/windrose-keys".to_owned(), "Secret/windrose-refused".to_owned()]);
    there.sort_unstable();
    gone.sort_unstable();
    assert_eq!(there, gone, "what is installed and what it makes by itself is all that goes");
}

#[test]
fn pods_meet_the_strictest_pod_security() {
    let objects = objects(&Options::default());
    let pod = objects.iter().find(|object| object["kind"] == "Deployment").unwrap().pointer("/spec/template/spec").unwrap();
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let context = &pod["containers"][0]["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["capabilities"], serde_json::json!({"drop": ["ALL"]}));
    assert!(pod["volumes"].as_array().unwrap().iter().all(|volume| volume.get("emptyDir").is_some()));
}

#[test]
fn every_right_is_used_where_it_says() {
    // What comes with a file that is not written yet.
    let awaited = ["events.rs", "webhook.rs"];
    for right in rights(true) {
        let (file, words) = right.call;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
        match std::fs::read_to_string(&path) {
            Ok(text) => assert!(text.contains(words), "{right:?}: {file} has no `{words}`: is the right still used?"),
            Err(_) => assert!(awaited.contains(&file), "{right:?}: there is no {file}"),
        }
    }
}

#[test]
fn no_right_is_given_twice_or_to_everything() {
    let mut seen = BTreeSet::new();
    for right in rights(true) {
        assert!(!right.resource.contains('*') && right.verb != "*", "{right:?}");
        assert!(seen.insert((right.place, right.group, right.resource.clone(), right.verb, right.only)), "{right:?} is given twice");
        let wider = |place, only| seen.contains(&(place, right.group, right.resource.clone(), right.verb, only));
        assert!(right.place == Place::Cluster || !wider(Place::Cluster, None), "{right:?} is held everywhere already");
    }
}

#[test]
fn no_right_reaches_beyond_what_it_is_for() {
    let secrets: Vec<_> = rights(true).into_iter().filter(|right| right.resource == "secrets").collect();
    let verbs = |place| secrets.iter().filter(|right| right.place == place).map(|right| right.verb).collect::<Vec<_>>();
    assert_eq!(verbs(Place::Cluster), ["list", "watch", "get"], "no Secret outside its namespace is ever written");
    assert_eq!(verbs(Place::Own), ["create", "patch", "patch"]);
    let patched = secrets.iter().filter(|right| right.verb == "patch");
    assert!(patched.clone().all(|right| right.only.is_some()), "of its own namespace only those that it makes");
    let never = ["clusterroles", "roles", "clusterrolebindings", "rolebindings", "pods/exec", "nodes/proxy"];
    let mut definitions = rights(true).into_iter().filter(|right| right.resource == "customresourcedefinitions");
    assert!(definitions.all(|right| right.verb == "get" && right.only.is_some()), "what there is to know of them is a version");
    assert!(rights(true).iter().all(|right| !never.contains(&right.resource.as_str())));
    let mut nodes = rights(true).into_iter().filter(|right| right.resource.starts_with("nodes"));
    assert!(nodes.all(|right| right.resource == "nodes" && ["list", "watch"].contains(&right.verb)), "only where they are");
}

#[test]
fn roles_hold_exactly_the_rights() {
    let objects = objects(&Options { webhook: true, ..Options::default() });
    for (place, kind) in [(Place::Cluster, "ClusterRole"), (Place::Own, "Role")] {
        let role = objects.iter().find(|object| object["kind"] == kind).unwrap();
        let mut given = BTreeSet::new();
        for rule in role["rules"].as_array().unwrap() {
            let texts = |field: &str| rule[field].as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect::<Vec<_>>();
            for resource in texts("resources") {
                for verb in texts("verbs") {
                    given.insert((
                        texts("apiGroups")[0].to_owned(),
                        resource.to_owned(),
                        verb.to_owned(),
                        texts("resourceNames").first().map(|only| (*only).to_owned()),
                    ));
                }
            }
        }
        let wanted: BTreeSet<_> = rights(true)
            .into_iter()
            .filter(|right| right.place == place)
            .map(|right| (right.group.to_owned(), right.resource, right.verb.to_owned(), right.only.map(str::to_owned)))
            .collect();
        assert_eq!(given, wanted, "{kind}");
    }
}

/// Whom this crate asks for, in files that run in the control plane: a new type needs a right, and a line here.
#[test]
fn every_type_that_is_asked_for_has_its_rights() {
    let known = [
        "ConfigMap",
        "Deployment",
        "DynamicObject",
        "K",
        "Lease",
        "PartialObjectMeta",
        "Pod",
        "Secret",
        "Service",
        "TokenReview",
        "ValidatingWebhookConfiguration",
    ];
    let mut files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        // Those who check an installation ask as the person who runs them.
        if path.components().any(|part| part.as_os_str() == "inspect" || part.as_os_str() == "install") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for opening in ["Api<", "Api::<"] {
            for found in text.split(opening).skip(1) {
                let name: String = found.chars().take_while(|letter| letter.is_alphanumeric()).collect();
                assert!(known.contains(&name.as_str()), "{}: {name} is asked for, and no right names it", path.display());
            }
        }
    }
}

#[test]
fn the_chart_has_every_placeholder_replaced_and_the_same_objects() {
    let chart = chart();
    let text = &chart["templates/windrose.yaml"];
    assert!(!text.contains("placeholder"), "{text}");
    for words in [
        "{{ .Release.Namespace }}",
        "{{ .Values.image | quote }}",
        "replicas: {{ .Values.replicas }}\n",
        "value: {{ .Values.envoyImage | quote }}\n",
    ] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    assert_eq!(text.matches("\n---\n").count() + 1, resources(&Options::default()).len());
}
