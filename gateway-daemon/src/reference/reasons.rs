//! The page of reasons.

use gateway_common::Reason;
use gateway_common::map::Outcome;

use super::{GENERATED, cell};

pub(super) fn page() -> String {
    let mut page = format!(
        "# Reasons\n{GENERATED}\n\
         Every packet that a gateway's programs see is counted once, under what became of it; \
         `gatewayctl counters` shows the counts, `gatewayctl trace` asks for a packet that was not \
         sent.\n\n## Refused\n\nA number is never used for another reason.\n\n\
         | number | label | meaning | usual causes | remedy | look at |\n\
         |---|---|---|---|---|---|\n"
    );
    for reason in Reason::ALL {
        let look: Vec<String> =
            reason.look().iter().map(|command| format!("`{command}`")).collect();
        let line = format!(
            "| {} | `{}` | {} | {} | {} | {} |\n",
            *reason as u8,
            reason.label(),
            cell(reason.meaning()),
            cell(reason.causes()),
            cell(reason.remedy()),
            look.join(", "),
        );
        page.push_str(&line);
    }
    page.push_str("\n## Not refused\n\n| label | what became of the packet |\n|---|---|\n");
    for outcome in Outcome::ALL {
        page.push_str(&format!("| `{}` | {} |\n", outcome.label(), meaning(*outcome)));
    }
    page
}

fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "Not addressed to a presence: left to the host's own stack, unchanged.",
        Outcome::Answered => "An ARP request for a presence, answered.",
        Outcome::ToLink => "Translated and handed to a link.",
        Outcome::ToLan => "Translated and handed to a LAN interface.",
        Outcome::Relayed => "Handed from one link to another, between two other sites.",
        Outcome::Opened => "Opened a flow; also counted as forwarded.",
    }
}
