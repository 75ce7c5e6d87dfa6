//! Files of daemons that are told what to do, beside those that say it all.

use gateway_control::site_file::{Mode, mode, parse, parse_told};

use crate::GOOD;

const TOLD: &str = r#"
mode = "controller"
[store]
path = "/var/lib/presence/store"
[api]
operators = []
[gateway]
name = "cloud-gw"
site = "cloud"
[[lan]]
interface = "eth1"
networks = ["10.0.0.0/24"]
[link]
private_key_file = "link.key"
listen_port = 51820
"#;

#[test]
fn the_mode_says_what_a_file_is() {
    for (text, found) in [
        ("mode = \"standalone\"", Mode::Standalone),
        ("mode = \"gateway\"", Mode::Gateway),
        (TOLD, Mode::Controller),
        (GOOD, Mode::Standalone),
    ] {
        assert_eq!(mode(text), Ok(found), "{text}");
    }
    let error = mode("mode = \"cloud\"").unwrap_err().to_string();
    assert!(error.contains("line 1, column 8"), "{error}");
    assert!(
        error.contains("\"cloud\"") && error.contains("standalone, controller, gateway"),
        "{error}"
    );
    assert!(mode("mode = ").is_err() && mode("mode = 3").is_err());
}

#[test]
fn a_site_file_may_say_that_it_is_one() {
    let text = format!("mode = \"standalone\"\n{GOOD}");
    assert_eq!(parse(&text), parse(GOOD));
    let error = parse(&format!("mode = \"gateway\"\n{GOOD}")).unwrap_err().to_string();
    assert!(error.contains("mode: ") && error.contains("standalone"), "{error}");
}

#[test]
fn local_facts_are_those_of_a_site_file() {
    let told = parse_told(TOLD).unwrap().unwrap();
    let own = told.own.as_ref().unwrap();
    assert_eq!((own.name.as_str(), own.site.as_str()), ("cloud-gw", "cloud"));
    assert_eq!(told.facts.instance.as_str(), "default");
    assert_eq!(told.facts.link.listen_port.map(u16::from), Some(51820));
    assert_eq!(told.facts.lans.len(), 1);
    let effective = format!("mode = \"gateway\"\n{told}");
    assert_eq!(parse_told(&effective), Ok(Some(told)), "{effective}");
    let alone = "mode = \"controller\"\n[store]\npath = \"x\"";
    assert_eq!(parse_told(alone), Ok(None));
}

#[test]
fn who_joins_has_neither_a_name_nor_a_key_in_its_file() {
    let joins = TOLD
        .replace("name = \"cloud-gw\"\nsite = \"cloud\"\n", "")
        .replace("private_key_file = \"link.key\"\n", "");
    let told = parse_told(&joins).unwrap().unwrap();
    assert_eq!(told.own, None);
    let effective = format!("mode = \"gateway\"\n{told}");
    assert_eq!(parse_told(&effective), Ok(Some(told)), "{effective}");
}

#[test]
fn faults_say_where_and_what_to_do() {
    for (from, to, said) in [
        ("site = \"cloud\"\n", "", "the gateway has name and no site"),
        ("private_key_file = \"link.key\"\n", "", "the link has no private_key_file"),
        ("name = \"cloud-gw\"\nsite = \"cloud\"\n", "", "one that joins makes its keys itself"),
        ("site = \"cloud\"", "site = \"CLOUD\"", "site"),
        ("listen_port = 51820", "relay = true", "unknown field `relay`"),
        ("[[lan]]", "[peer]\n[[lan]]", "unknown field `peer`"),
        ("[gateway]\nname = \"cloud-gw\"\nsite = \"cloud\"\n", "", "there is no [gateway]"),
        ("[link]\nprivate_key_file = \"link.key\"\nlisten_port = 51820\n", "", "has no [link]"),
        ("listen_port = 51820", "listen_port = 0", "listen_port"),
    ] {
        assert!(TOLD.contains(from), "{from}");
        let error = parse_told(&TOLD.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("line "), "{from}: {error}");
    }
}
