//! A client and a server, without anything around them.

use super::super::fuzzing;

#[test]
fn anything_may_come() {
    // a few hand-made inputs for the fuzz targets, so that they cannot rot
    for kind in [0u8, 4, 6, 26] {
        let packets: [&[u8]; 5] = [
            &[0, 6, 2, 1, 0, 6, 26, 3],
            &[0, 5, 2, 1, 0, 5, 4, 0, 4, 2, 2, 0, 4],
            &[0, 30, 1, 1, 0, 30, 26, 1, 5, 0, 25, 16],
            &[0xff, 0xff, 1],
            &[0, 4, 3, 1, 0, 4],
        ];
        for packet in packets {
            let data = [&[kind], packet].concat();
            fuzzing::server(&data);
            fuzzing::client(&data);
        }
    }
}
