use super::world::*;
use crate::{Planner, Refused};
use std::time::Instant;
use windrose_api::declared::Changed;
use windrose_vocab::{Kind, ObjectRef};

#[test]
fn scale() {
    for n in [5000_usize] {
        let mut objects = vec![gateway(vec![listener("web", 80, "")])];
        for i in 0..n {
            objects.push(service(&format!("s{i}"), 80));
            objects.push(slice(&format!("s{i}"), &["10.0.0.1", "10.0.0.2"]));
            let name: &'static str = Box::leak(format!("h{i}.example").into_boxed_str());
            objects.push(route(&format!("r{i}"), &[name], vec![rule(vec![prefix("/")], &format!("s{i}"))]));
        }
        let mut world = declared(objects);
        let all = Changed { objects: world.iter().map(|o| o.meta().object.clone()).collect() };
        let mut planner = Planner::new(settings());
        let start = Instant::now();
        let plan = planner.update(&world, &Refused::default(), &all);
        println!("{n}: full {:?} diags {}", start.elapsed(), plan.diagnostics.len());
        let mut keep = plan;
        let (mut routes, mut slices) = (Vec::new(), Vec::new());
        for k in 0..20 {
            let i = k * 37 % n;
            let name: &'static str = Box::leak(format!("h{i}.example").into_boxed_str());
            world.insert(route(&format!("r{i}"), &[name], vec![rule(vec![prefix(&format!("/x{k}"))], &format!("s{i}"))]));
            let start = Instant::now();
            keep = planner.update(
                &world,
                &Refused::default(),
                &Changed { objects: [ObjectRef::new(Kind::HTTPRoute, NS, format!("r{i}"))].into() },
            );
            routes.push(start.elapsed());
            world.insert(slice(&format!("s{i}"), &["10.0.0.1", &format!("10.0.1.{k}")]));
            let start = Instant::now();
            keep = planner.update(
                &world,
                &Refused::default(),
                &Changed { objects: [ObjectRef::new(Kind::EndpointSlice, NS, format!("s{i}-1"))].into() },
            );
            slices.push(start.elapsed());
        }
        routes.sort();
        slices.sort();
        println!("{n}: route edit p50 {:?} max {:?}; slice edit p50 {:?} max {:?}", routes[10], routes[19], slices[10], slices[19]);
        drop(keep);
    }
}
