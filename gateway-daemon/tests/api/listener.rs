//! The socket's file: who may open it, whom it is taken from, who is in the way, and its end.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;

use gateway_daemon::api::{ApiError, Listener};

use crate::{Api, Scratch};

fn modes(path: &std::path::Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn it_is_made_with_its_directory_for_its_user_and_group_and_removed() {
    let scratch = Scratch::new();
    let path = scratch.0.join("run/presence/socket");
    let listener = Listener::bind(&path).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    assert_eq!((modes(&path), listener.path()), (0o660, path.as_path()));
    drop(listener);
    assert!(!path.exists());
    let private = Listener::bind_private(&path).unwrap();
    assert_eq!(modes(&path), 0o600);
    drop(private);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_second_controller_is_refused_and_the_first_goes_on() {
    let mut api = Api::start().await;
    let error = Listener::bind(&api.socket()).unwrap_err();
    assert!(matches!(error, ApiError::Served { .. }), "{error}");
    assert!(error.to_string().contains("stop that one"));
    assert_eq!(api.get("/v1/status").await.status, 200);
    api.end().await;
    assert!(!api.socket().exists());
    Listener::bind(&api.socket()).unwrap();
}

#[tokio::test]
async fn a_socket_that_is_served_without_the_lock_is_not_taken_and_a_stale_one_is() {
    let scratch = Scratch::new();
    let path = scratch.0.join("socket");
    let other = UnixListener::bind(&path).unwrap();
    let error = Listener::bind(&path).unwrap_err();
    assert!(matches!(error, ApiError::Served { .. }), "{error}");
    drop(other);
    assert!(path.exists(), "nobody removed it");
    fs::create_dir(scratch.0.join("socket.new")).unwrap();
    drop(UnixListener::bind(scratch.0.join("socket.new/s")).unwrap());
    let listener = Listener::bind(&path).unwrap();
    assert_eq!(modes(&path), 0o660);
    assert!(!scratch.0.join("socket.new").exists());
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn another_file_is_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.0.join("socket");
    fs::write(&path, "precious").unwrap();
    let error = Listener::bind(&path).unwrap_err();
    assert!(matches!(error, ApiError::NoSocket { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let error = Listener::bind(&path.join("below")).unwrap_err();
    assert!(matches!(error, ApiError::Io { .. }), "{error}");
    let error = Listener::bind(&scratch.0.join("x".repeat(100))).unwrap_err();
    assert!(matches!(error, ApiError::PathTooLong { .. }), "{error}");
    // Not ours any more.
    let path = scratch.0.join("moved");
    let listener = Listener::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    drop(listener);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}
