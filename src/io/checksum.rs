//! A checksum that notices torn and changed files: XXH64, which other tools know too.

const PRIMES: [u64; 5] =
    [0x9e37_79b1_85eb_ca87, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x85eb_ca77_c2b2_ae63, 0x27d4_eb2f_1656_67c5];

/// Takes bytes in pieces of any length.
pub(super) struct Checksum {
    lanes: [u64; 4],
    /// What does not fill a block of 32 bytes yet.
    rest: [u8; 32],
    waiting: usize,
    length: u64,
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

impl Checksum {
    pub(super) fn new() -> Checksum {
        let lanes = [PRIMES[0].wrapping_add(PRIMES[1]), PRIMES[1], 0, PRIMES[0].wrapping_neg()];
        Checksum { lanes, rest: [0; 32], waiting: 0, length: 0 }
    }
    fn block(&mut self, block: &[u8; 32]) {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in self.lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.waiting > 0 {
            let room = self.rest.get_mut(self.waiting..).unwrap_or_default();
            let count = room.len().min(bytes.len());
            let (first, after) = bytes.split_at(count);
            room.iter_mut().zip(first).for_each(|(to, from)| *to = *from);
            (self.waiting, bytes) = (self.waiting + count, after);
            if self.waiting < 32 {
                return;
            }
            let block = self.rest;
            self.block(&block);
        }
        let (blocks, after) = bytes.as_chunks::<32>();
        blocks.iter().for_each(|block| self.block(block));
        self.rest.iter_mut().zip(after).for_each(|(to, from)| *to = *from);
        self.waiting = after.len();
    }
    pub(super) fn sum(&self) -> u64 {
        let [a, b, c, d] = self.lanes;
        let mut sum = PRIMES[4];
        if self.length >= 32 {
            sum = a.rotate_left(1).wrapping_add(b.rotate_left(7));
            sum = sum.wrapping_add(c.rotate_left(12)).wrapping_add(d.rotate_left(18));
            for lane in self.lanes {
                sum = (sum ^ round(0, lane)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
            }
        }
        sum = sum.wrapping_add(self.length);
        let (words, after) = self.rest.get(..self.waiting).unwrap_or_default().as_chunks::<8>();
        for word in words {
            sum = (sum ^ round(0, u64::from_le_bytes(*word))).rotate_left(27);
            sum = sum.wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
        }
        let (halves, after) = after.as_chunks::<4>();
        for half in halves {
            sum ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIMES[0]);
            sum = sum.rotate_left(23).wrapping_mul(PRIMES[1]).wrapping_add(PRIMES[2]);
        }
        for byte in after {
            sum = (sum ^ u64::from(*byte).wrapping_mul(PRIMES[4])).rotate_left(11).wrapping_mul(PRIMES[0]);
        }
        sum = (sum ^ (sum >> 33)).wrapping_mul(PRIMES[1]);
        sum = (sum ^ (sum >> 29)).wrapping_mul(PRIMES[2]);
        sum ^ (sum >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> u64 {
        let mut checksum = Checksum::new();
        checksum.take(bytes);
        checksum.sum()
    }

    #[test]
    fn it_is_the_known_one() {
        assert_eq!(of(b""), 0xef46_db37_51d8_e999);
        assert_eq!(of(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(of(b"abc"), 0x44bc_2cf5_ad77_0999);
        assert_eq!(of(b"Nobody inspects the spammish repetition"), 0xfbce_a83c_8a37_8bf1);
    }

    #[test]
    fn pieces_make_no_difference() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| ((i * 31) >> 3) as u8).collect();
        for piece in [1, 3, 7, 31, 32, 33, 64, 999] {
            let mut checksum = Checksum::new();
            bytes.chunks(piece).for_each(|piece| checksum.take(piece));
            assert_eq!(checksum.sum(), of(&bytes), "{piece}");
        }
    }
}
