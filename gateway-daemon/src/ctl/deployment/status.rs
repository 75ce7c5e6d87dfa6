//! `status` of a deployment, on one screen. Pure.

use serde::Serialize;

use super::kinds;
use super::rows::{lag, progress};
use crate::api::wire::DeploymentStatus;
use crate::ctl::print::{Answer, or_dash, pairs, table};

/// A deployment at one look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Deployment {
    /// The socket of the controller that was asked.
    pub controller: String,
    /// What it says.
    #[serde(flatten)]
    pub status: DeploymentStatus,
}

impl Answer for Deployment {
    fn text(&self) -> String {
        let DeploymentStatus {
            revision,
            store,
            counts,
            sites,
            more_sites,
            problems,
            more_problems,
        } = &self.status;
        let counts = counts.iter().filter(|(_, count)| **count > 0);
        let counts = counts.map(|(kind, count)| match count {
            1 => format!("1 {}", kind.to_lowercase()),
            count => format!("{count} {}", kinds::plural(kind)),
        });
        let counts = counts.collect::<Vec<_>>().join(", ");
        let mut text = pairs([
            ("deployment", format!("by the controller at {}", self.controller)),
            ("store", store.clone()),
            ("revision", revision.to_string()),
            ("resources", if counts.is_empty() { "none".to_owned() } else { counts }),
        ]);
        text.push('\n');
        let rows = sites.iter().map(|site| {
            let links = match site.links_up {
                Some(up) => format!("{up}/{}", site.links),
                None => format!("?/{}", site.links),
            };
            [
                site.name.clone(),
                site.role.clone(),
                or_dash(site.gateway.gateway.as_ref()),
                progress(site.gateway.state),
                lag(&site.gateway),
                or_dash(site.lag),
                links,
                site.services.to_string(),
                site.uses.to_string(),
            ]
        });
        let heading = [
            "site",
            "role",
            "gateway",
            "state",
            "applied/wanted",
            "behind",
            "links up",
            "services",
            "uses",
        ];
        text.push_str(&table(
            heading,
            rows,
            "no site is declared; begin with `gatewayctl apply -f`",
        ));
        if *more_sites > 0 {
            text.push_str(&format!("and {more_sites} more; `gatewayctl get sites` lists all\n"));
        }
        if problems.is_empty() {
            text.push_str("\nno problems are known\n");
            return text;
        }
        text.push_str("\nproblems:\n");
        text.extend(problems.iter().map(|problem| format!("  {problem}\n")));
        if *more_problems > 0 {
            text.push_str(&format!("  and {more_problems} more\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(problems: &[&str], more: usize) -> Deployment {
        let status = json!({
            "revision": 12, "store": "/var/lib/presence/store", "counts": {"Site": 2, "Gateway": 1, "Policy": 0},
            "sites": [
                {"name": "cloud", "role": "cloud", "links": 1, "links_up": 1, "services": 2, "uses": 0,
                 "lag": 0, "gateway": {"site": "cloud", "gateway": "cloud-gw", "wanted": 12,
                                       "applied": 12, "state": "applied"}},
                {"name": "edge-a", "role": "edge", "links": 1, "services": 0, "uses": 2,
                 "gateway": {"site": "edge-a", "wanted": 12, "state": "missing"}},
            ],
            "more_sites": more, "problems": problems, "more_problems": more,
        });
        let status = serde_json::from_value(status).unwrap();
        Deployment { controller: "/run/x.sock".into(), status }
    }

    #[test]
    fn it_is_one_screen() {
        let text = deployment(&["site edge-a: it has no gateway; declare one"], 3).text();
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for line in [
            "deployment by the controller at /run/x.sock",
            "resources 1 gateway, 2 sites",
            "SITE ROLE GATEWAY STATE APPLIED/WANTED BEHIND LINKS UP SERVICES USES",
            "cloud cloud cloud-gw applied 12/12 0 1/1 2 0",
            "edge-a edge - missing -/12 - ?/1 0 2",
            "and 3 more; `gatewayctl get sites` lists all",
            "site edge-a: it has no gateway; declare one",
        ] {
            assert!(lines.iter().any(|it| it == line), "{line:?} in {text}");
        }
        let quiet = deployment(&[], 0);
        assert!(quiet.text().ends_with("\nno problems are known\n"));
        assert_eq!(serde_json::to_value(&quiet).unwrap()["revision"], 12);
    }
}
