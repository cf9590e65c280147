//! Messages of numbered fields in the wire format of protocol buffers, and the checksum of their records.

/// A message being written.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

/// How a field's value is written.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const BYTES: u64 = 2;
const FOUR_BYTES: u64 = 5;

impl Message {
    pub(super) fn new() -> Message {
        Message::default()
    }
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
    fn field(&mut self, number: u64, kind: u64) {
        self.varint(number << 3 | kind);
    }
    pub(super) fn integer(mut self, field: u64, number: u64) -> Message {
        self.field(field, VARINT);
        self.varint(number);
        self
    }
    pub(super) fn double(mut self, field: u64, number: f64) -> Message {
        self.field(field, EIGHT_BYTES);
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }
    pub(super) fn float(mut self, field: u64, number: f32) -> Message {
        self.field(field, FOUR_BYTES);
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }
    pub(super) fn bytes(mut self, field: u64, bytes: &[u8]) -> Message {
        self.field(field, BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }
    pub(super) fn message(self, field: u64, message: Message) -> Message {
        self.bytes(field, &message.0)
    }
    pub(super) fn doubles(self, field: u64, numbers: &[f64]) -> Message {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.bytes(field, &bytes)
    }
    /// The fields of another message, behind these.
    pub(super) fn and(mut self, other: Message) -> Message {
        self.0.extend(other.0);
        self
    }
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The CRC-32C of bytes, turned and moved as records have it, so that a checksum of checksums is a good one too.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    remainder(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C by division; the polynomial has its bits in reverse.
fn remainder(bytes: &[u8]) -> u32 {
    let mut sum = !0;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_known_one() {
        // Its check value in the catalogue of CRC algorithms.
        assert_eq!(remainder(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn fields_are_as_the_format_says() {
        // The example of the format's documentation: field 1 is 150.
        assert_eq!(Message::new().integer(1, 150).into_bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::new().bytes(2, b"testing").into_bytes(), b"\x12\x07testing");
        assert_eq!(Message::new().message(3, Message::new().integer(1, 150)).into_bytes(), [0x1a, 3, 8, 0x96, 1]);
    }
}
