//! Files that are made from the code and lie in the tree all the same: each must be what the code makes now.
//! `BLESS=1` writes them.

use windrose_tests::places::checkout;
use windrose_tests::proto::DESCRIPTOR_SET;

#[test]
fn the_descriptor_set_of_the_demo_is_that_of_the_sample_services() {
    let file = checkout().join("envoy-config/demo/orders.pb");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, DESCRIPTOR_SET).unwrap();
    }
    let same = std::fs::read(&file).is_ok_and(|bytes| bytes == DESCRIPTOR_SET);
    assert!(same, "{} is not current; `make bless` writes it", file.display());
}
