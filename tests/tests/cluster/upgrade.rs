//! Another version of the control plane, put over the one that runs.

use std::time::Duration;

use windrose_tests::load::Load;

use crate::stage::{NAME, PATIENCE, SYSTEM, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_of_the_control_plane_costs_no_request_and_no_change() {
    let Some(stage) = Stage::open_alone("upgrade") else { return };
    let call = stage.two_backends("one", "other").await;

    let runs = stage.kubectl(&["-n", SYSTEM, "get", "deployment", NAME, "-o", "jsonpath={.spec.template.spec.containers[0].image}"]);
    let images = std::env::var("WINDROSE_TEST_IMAGES").expect("WINDROSE_TEST_IMAGES names two images of the control plane");
    let next = images.split_whitespace().find(|image| *image != runs).unwrap();
    // What is there is of an earlier version, and somebody took a column out of a definition.
    let earlier = r#"{"metadata":{"labels":{"app.kubernetes.io/version":"0.0.9"}}}"#;
    stage.kubectl(&["-n", SYSTEM, "patch", "deployment", NAME, "--type=merge", "-p", earlier]);
    let column = r#"[{"op":"remove","path":"/spec/versions/0/additionalPrinterColumns/0"}]"#;
    stage.kubectl(&["patch", "customresourcedefinition", "edgepolicies.windrose.dev", "--type=json", "-p", column]);
    let load = Load::start(4, Duration::from_millis(20), &call);
    let (installation, told) = stage.windrose_and_words(&["upgrade", "--image", next]);
    assert!(told.contains("version 0.0.9 is installed, and becomes"), "{told}");
    assert!(told.contains("edgepolicies.windrose.dev: spec.versions[0].additionalPrinterColumns"), "{told}");
    assert!(told.contains(&format!("{runs} → {next}")), "{told}");
    stage.anywhere(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &installation);
    stage.gateway("edge", "other");
    stage.answered(&call, "other").await;
    stage.rolled_out();
    let (_, told) = stage.windrose_and_words(&["upgrade", "--image", next]);
    assert!(told.contains(" is installed, and stays") && !told.contains("changes"), "{told}");
    stage.gateway("edge", "one");
    stage.answered(&call, "one").await;
    load.go_on(20, PATIENCE).await;
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
}
