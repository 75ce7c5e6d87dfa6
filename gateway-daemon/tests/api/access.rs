//! Who may do what, by the user that the kernel names.

use gateway_daemon::api::Access;
use gateway_daemon::store::sqlite::SqliteSettings;
use nix::unistd::Uid;

use crate::client::ask;
use crate::{Api, Scratch, conform, settings, site};

#[tokio::test]
async fn the_controllers_own_user_and_root_may_do_everything() {
    let api = Api::start().await;
    api.declare(site("cloud")).await;
    for target in [
        "/v1/resources",
        "/v1/resources/site/cloud",
        "/v1/events",
        "/v1/status",
        "/v1/openapi.json",
        "/v1/backup",
    ] {
        assert_eq!(api.get(target).await.status, 200, "{target}");
    }
}

/// What each route says to users with each role is tested beside `Caller`, where no socket is needed.
#[tokio::test]
async fn the_user_at_the_other_end_is_the_one_that_is_judged() {
    let me = Uid::effective();
    let another = Uid::from_raw(me.as_raw().wrapping_add(1));
    let scratch = Scratch::new();
    let store = scratch.store(SqliteSettings::default()).await;
    let access = Access::new(another, vec![another], vec![another]);
    let api = Api::on(scratch, store, settings(), access).await;
    let allowed = me.is_root();
    for (method, path) in conform::routes().into_iter().filter(|(_, path)| path != "/v1/watch") {
        let path = path.replace("{kind}/{name}", "site/cloud").replace("{name}", "a");
        let answer = ask(&api.socket(), &method, &path, "").await;
        assert_eq!(answer.status == 403, !allowed, "{method} {path}: {answer:?}");
    }
}
