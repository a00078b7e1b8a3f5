//! A state machine of one's own, simulated with faults and checked: `cargo run --release --features sim --example bank`.

use bytes::Bytes;
use quorate::replica::{Context, Request, RestoreError, StateMachine, Whole};
use quorate::sim::{Plan, Requests, run};

/// Eight accounts. A command moves coins from one to another; a query counts them all.
#[derive(Debug, Clone)]
struct Bank([u8; 8]);

impl StateMachine for Bank {
    type View = Vec<u8>;
    type Restorer = Whole<Self>;

    fn empty(_: u128) -> Self {
        Self([100; 8])
    }
    fn apply(&mut self, _: Context, command: &[u8], out: &mut Vec<u8>) {
        let &[from, to, coins] = command else { return out.push(b'?') };
        let (from, to) = (usize::from(from % 8), usize::from(to % 8));
        let moves = from != to && self.0[from] >= coins && self.0[to].checked_add(coins).is_some();
        if moves {
            self.0[from] -= coins;
            self.0[to] += coins;
        }
        out.push(moves.into());
    }
    fn query(&self, _: Context, _: &[u8], out: &mut Vec<u8>) {
        out.extend(self.0.iter().map(|&coins| u64::from(coins)).sum::<u64>().to_le_bytes());
    }
    fn view(&self) -> Vec<u8> {
        self.0.to_vec()
    }
    fn restorer() -> Self::Restorer {
        Whole::default()
    }
    fn digest(&self) -> u128 {
        u64::from_le_bytes(self.0).into()
    }
}

impl TryFrom<Vec<u8>> for Bank {
    type Error = RestoreError;
    fn try_from(bytes: Vec<u8>) -> Result<Self, RestoreError> {
        bytes.try_into().map(Self).map_err(|_| RestoreError::Length)
    }
}

fn main() {
    let ask = |_client, rng: &mut quorate::rng::Rng| match rng.below(4) {
        0 => Request::Read(Bytes::new()),
        _ => Request::Write((0..3).map(|_| rng.below(30) as u8).collect()),
    };
    for seed in 1..=20 {
        let report = run(&Plan::draw(seed, None, None, 60), Requests::<Bank, _, _>::of_itself(ask));
        println!("seed {seed}: {} operations, {:?}", report.operations, report.violation);
        assert!(report.violation.is_none());
    }
}
