//! Traffic class across the tunnel: DSCP (RFC 2983, RFC 4301 §5.1.2) and ECN (RFC 6040).

/// What is copied between the inner and the outer header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copying {
    /// DSCP of the inner header goes to the outer one.
    pub dscp_out: bool,
    /// DSCP of the outer header replaces that of the inner one.
    pub dscp_in: bool,
    /// ECN is visible outside, and congestion met outside is shown to the inner receiver.
    pub ecn: bool,
}

const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const CE: u8 = 0b11;

impl Copying {
    /// Traffic class of the outer header (RFC 6040 §4.1, normal mode).
    pub(crate) fn outer(self, inner: u8) -> u8 {
        (if self.dscp_out { inner & !ECN } else { 0 }) | (if self.ecn { inner & ECN } else { 0 })
    }

    /// Traffic class of the inner header after decapsulation (RFC 6040 §4.2), `None` if the packet must be dropped:
    /// its sender would not understand that it met congestion.
    pub(crate) fn inner(self, inner: u8, outer: u8) -> Option<u8> {
        let dscp = if self.dscp_in { outer & !ECN } else { inner & !ECN };
        let ecn = match (self.ecn, inner & ECN, outer & ECN) {
            (true, NOT_ECT, CE) => return None,
            (true, NOT_ECT, _) | (false, _, _) => inner & ECN,
            (true, _, CE) => CE,
            (true, CE, _) => CE,
            (true, _, ECT_1) => ECT_1,
            (true, kept, _) => kept,
        };
        Some(dscp | ecn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECT_0: u8 = 0b10;
    const ECN_ONLY: Copying = Copying { dscp_out: false, dscp_in: false, ecn: true };

    #[test]
    fn decapsulation_follows_the_table_of_rfc_6040() {
        // Rows: inner Not-ECT, ECT(0), ECT(1), CE; columns: outer Not-ECT, ECT(0), ECT(1), CE.
        let columns = [NOT_ECT, ECT_0, ECT_1, CE];
        let table = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        for (inner, row) in table {
            assert_eq!(columns.map(|outer| ECN_ONLY.inner(inner, outer)), row, "inner {inner:02b}");
        }
    }

    #[test]
    fn dscp_is_copied_only_where_configured() {
        let ef = 46 << 2;
        let copying = |dscp_out, dscp_in| Copying { dscp_out, dscp_in, ecn: false };
        assert_eq!(copying(true, false).outer(ef | CE), ef);
        assert_eq!(copying(false, true).outer(ef), 0);
        assert_eq!(copying(true, false).inner(0, ef | CE), Some(0));
        assert_eq!(copying(false, true).inner(ECT_0, ef | CE), Some(ef | ECT_0));
        assert_eq!(ECN_ONLY.outer(ef | ECT_1), ECT_1);
    }
}
