//! Randomness for ids, taken from the system in blocks: a system call per message would cost as much as its
//! encoding.

/// Bytes fetched at once.
const BLOCK: usize = 2_560;

pub(super) struct Entropy {
    block: [u8; BLOCK],
    used: usize,
}

impl Default for Entropy {
    fn default() -> Self {
        Self { block: [0; BLOCK], used: BLOCK }
    }
}

impl Entropy {
    /// Returns ten bytes that nobody saw before.
    pub(super) fn ten(&mut self) -> [u8; 10] {
        if self.used + 10 > BLOCK {
            #[expect(
                clippy::expect_used,
                reason = "without randomness no id may be made; Linux has it after boot"
            )]
            getrandom::fill(&mut self.block).expect("the system gives randomness once it has booted");
            self.used = 0;
        }
        let mut ten = [0; 10];
        ten.copy_from_slice(&self.block[self.used..self.used + 10]);
        self.used += 10;
        ten
    }
}
