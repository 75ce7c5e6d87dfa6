//! Two controllers on one etcd, each behind a network of its own, asked over their APIs: what one is given the other
//! has, and what a network that stops does to one is said by that one and nothing to the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_control::deployment::allocation::COOLING;
use gateway_daemon::api::client::{Client, ClientError};
use gateway_daemon::api::wire::{ApplyQuery, ErrorWord, Selection};
use gateway_daemon::api::{self, Access, Listener};
use gateway_daemon::controller::{Controller, Identity};
use gateway_daemon::store::Store;
use gateway_daemon::store::etcd::EtcdStore;
use nix::unistd::Uid;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::conformance::PATIENCE;
use crate::conformance::scratch::Scratch;
use crate::proxy::Proxy;
use crate::server::Etcd;

const NOW: u64 = 1_800_000_000;
/// How long a controller waits for etcd here.
const CALL: Duration = Duration::from_secs(2);

struct Served {
    controller: Arc<Controller>,
    client: Client,
    network: Proxy,
    tasks: [JoinHandle<()>; 2],
}

impl Served {
    async fn new(etcd: &Etcd, socket: PathBuf) -> Self {
        let network = Proxy::new(etcd.port()).await;
        let mut settings = Etcd::settings(vec![network.endpoint()]);
        settings.call_timeout = CALL;
        let store: Arc<dyn Store> = Arc::new(EtcdStore::connect(settings).await.unwrap());
        let controller = Arc::new(Controller::open(store, COOLING, NOW).await.unwrap());
        let listener = Listener::bind(&socket).unwrap();
        let access = Access::new(Uid::effective(), Vec::new(), Vec::new());
        let serving = Arc::clone(&controller);
        let serving = tokio::spawn(async move {
            api::serve(listener, serving, access, std::future::pending()).await.unwrap();
        });
        let following = Arc::clone(&controller);
        // Ends when its network does.
        let following = tokio::spawn(async move { drop(following.follow().await) });
        let client = Client::new(&socket);
        Self { controller, client, network, tasks: [serving, following] }
    }

    async fn apply(&self, text: &str) -> Result<Option<u64>, ClientError> {
        let outcome = self.client.apply(&ApplyQuery::default(), text.to_owned()).await?;
        Ok(outcome.revision)
    }

    /// How many services there are.
    async fn services(&self) -> Result<usize, ClientError> {
        let selection = Selection { kind: Some("Service".to_owned()), ..Selection::default() };
        Ok(self.client.page(&selection).await?.items.len())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn site() -> String {
    "kind: Site\nmetadata: {name: cloud}\nspec: {role: cloud, clientNetworks: [10.0.0.0/24], presencePool: \
     10.0.0.192/26}\n---\nkind: Gateway\nmetadata: {name: gw}\nspec: {site: cloud, publicKey: \
     3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=}\n"
        .to_owned()
}

fn service(name: &str) -> String {
    format!(
        "kind: Service\nmetadata: {{name: {name}}}\nspec: {{site: cloud, ports: [tcp/80], backends: \
         [{{address: 10.0.0.10}}]}}\n"
    )
}

fn refusal(error: &ClientError) -> (ErrorWord, String) {
    match error {
        ClientError::Refused(refusal) => (refusal.error, refusal.message.clone()),
        other => panic!("no refusal: {other}"),
    }
}

async fn pair(etcd: &Etcd, scratch: &Path) -> [Served; 2] {
    let one = Served::new(etcd, scratch.join("one")).await;
    one.apply(&site()).await.unwrap();
    [one, Served::new(etcd, scratch.join("two")).await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_is_given_the_other_has_and_tells_its_gateways() {
    let (etcd, scratch) = (Etcd::new().await, Scratch::new());
    let [one, two] = pair(&etcd, &scratch.0).await;
    let identity = Identity {
        site: "cloud".parse().unwrap(),
        gateway: "gw".parse().unwrap(),
        public_key: "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=".parse().unwrap(),
    };
    let mut gateway = two.controller.connect(identity).await.unwrap();
    let before = gateway.orders().revision;
    let revision = one.apply(&service("web")).await.unwrap();
    // Nobody asks the second; it follows the store.
    assert!(timeout(PATIENCE, gateway.changed()).await.expect("told in time"));
    let orders = gateway.orders();
    assert!(orders.revision > before && orders.revision.map(|it| it.number()) == revision);
    assert!(orders.share.unwrap().items().values().any(|it| it.to_string().contains("web.cloud")));
    assert_eq!(two.services().await.unwrap(), 1);

    // Both are given changes at once, which all take place.
    let both = [(&one, "a"), (&two, "b")].map(|(served, name)| async move {
        for n in 0..10 {
            served.apply(&service(&format!("{name}{n}"))).await.unwrap();
        }
    });
    let [first, second] = both;
    tokio::join!(first, second);
    assert_eq!((one.services().await.unwrap(), two.services().await.unwrap()), (21, 21));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_without_its_etcd_says_so_in_time_and_goes_on_once_it_is_back() {
    let (etcd, scratch) = (Etcd::new().await, Scratch::new());
    let [one, two] = pair(&etcd, &scratch.0).await;
    one.network.stop();
    let begun = Instant::now();
    let error = one.apply(&service("lost")).await.unwrap_err();
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    let (word, message) = refusal(&error);
    assert_eq!(word, ErrorWord::Unavailable, "{message}");
    assert!(message.contains("etcd http://127.0.0.1:"), "{message}");
    assert!(message.contains("etcdctl") || message.contains("read its keys"), "{message}");
    // Reading is asked of the store too: nothing old is shown for new.
    assert_eq!(refusal(&one.services().await.unwrap_err()).0, ErrorWord::Unavailable);
    two.apply(&service("kept")).await.unwrap();

    one.network.go_on();
    let back = timeout(PATIENCE, async {
        loop {
            match one.apply(&service("again")).await {
                Ok(_) => return,
                Err(error) => assert_eq!(refusal(&error).0, ErrorWord::Unavailable),
            }
        }
    });
    back.await.expect("back in time");
    // The change that was given up may have come through with the network, and what the other did has.
    let services = one.services().await.unwrap();
    assert_eq!(two.services().await.unwrap(), services);
    assert!((2..=3).contains(&services), "{services}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_etcd_does_not_take_at_once_is_refused_whole_with_the_remedy() {
    let (etcd, scratch) = (Etcd::new().await, Scratch::new());
    let [one, _] = pair(&etcd, &scratch.0).await;
    let many: Vec<String> = (0..200).map(|n| service(&format!("web{n}"))).collect();
    let (_, message) = refusal(&one.apply(&many.join("---\n")).await.unwrap_err());
    assert!(message.contains("operations") && message.contains("divide it"), "{message}");
    assert_eq!(one.services().await.unwrap(), 0);
    let mut backup = match one.client.backup().await {
        Err(error) => refusal(&error).1,
        Ok(_) => panic!("etcd is not backed up here"),
    };
    backup.retain(|it| it != '\n');
    assert!(backup.contains("etcdctl snapshot save"), "{backup}");
}
