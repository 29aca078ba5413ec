//! IPComp (RFC 7296 §2.22): agreed on by both sides or not used, and never in the way.

use std::sync::Arc;

use ike::kernel::Features;

use crate::sim::kernel::Failures;
use crate::sim::{A, B, Sim};

fn pair(wanted: [bool; 2], able: [bool; 2]) -> Sim {
    let mut sim = Sim::pair();
    for host in [A, B] {
        sim.configure_host(host, |peer| Arc::make_mut(&mut peer.children[0]).ipcomp = wanted[host]);
        if able[host] {
            sim.hosts[host].kernel.set_features(Features::IPCOMP);
        }
    }
    sim
}

fn cpis(sim: &Sim, host: usize) -> Option<(u16, u16)> {
    sim.hosts[host].snapshots()[0].children[0].cpis
}

#[test]
fn both_sides_compress_or_none() {
    for (wanted, able, used) in [
        ([true, true], [true, true], true),
        ([true, false], [true, true], false),
        ([false, true], [true, true], false),
        ([true, true], [false, true], false),
        ([true, true], [true, false], false),
    ] {
        let mut sim = pair(wanted, able);
        sim.establish();
        let (a, b) = (cpis(&sim, A), cpis(&sim, B));
        assert_eq!(a.is_some(), used, "{wanted:?} {able:?}");
        assert_eq!(a, b.map(|(cpi_in, cpi_out)| (cpi_out, cpi_in)));
        for host in [A, B] {
            let kernel = &sim.hosts[host].kernel;
            assert!(kernel.sas().iter().all(|sa| sa.cpi.is_some() == used));
            assert_eq!(kernel.reserved_spis(), 0, "no CPI is left reserved");
            assert_eq!(kernel.violations(), [""; 0]);
        }
    }
}

#[test]
fn a_data_plane_that_turns_out_not_to_compress_does_without() {
    for host in [A, B] {
        let mut sim = pair([true; 2], [true; 2]);
        sim.hosts[host].kernel.fail(Failures { allocate_cpi: true, ..Failures::default() });
        sim.establish();
        assert_eq!((cpis(&sim, A), cpis(&sim, B)), (None, None));
        assert!([A, B].iter().all(|host| sim.hosts[*host].kernel.reserved_spis() == 0));
    }
}

#[test]
fn what_fails_gives_its_cpi_back() {
    let mut sim = pair([true; 2], [true; 2]);
    sim.hosts[B].kernel.fail(Failures { add_policies: true, ..Failures::default() });
    sim.initiate(A);
    sim.settle();
    for host in [A, B] {
        let kernel = &sim.hosts[host].kernel;
        assert_eq!((kernel.sas().len(), kernel.reserved_spis()), (0, 0));
        assert_eq!(kernel.violations(), [""; 0]);
    }
}
