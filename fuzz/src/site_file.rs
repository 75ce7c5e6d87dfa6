//! The site file: from any bytes to a model, its tables and its rendering.

use gateway_control::model::SiteModel;
use gateway_control::site_file::parse;
use gateway_control::{Interface, Plan, compile};

/// Reads `data` as a site file.
///
/// # Panics
///
/// If a refused file has no fault to show, a model does not compile, or its rendering does not read
/// back as the same model.
pub fn site_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let model = match parse(text) {
        Ok(model) => model,
        Err(error) => {
            assert!(!error.faults().is_empty(), "refused without a fault");
            assert!(error.to_string().contains('^'), "a fault shows no place");
            return;
        }
    };
    compiles(&model);
    for note in model.notes() {
        assert!(!note.to_string().is_empty());
    }
    let rendered = model.to_string();
    match parse(&rendered) {
        Ok(read) => assert_eq!(read, model, "the rendering reads back as another model"),
        Err(error) => panic!("the rendering is refused: {error}\n{rendered}"),
    }
}

fn compiles(model: &SiteModel) {
    let link = [model.link().interface.clone()];
    let far = model.host().map(|host| host.far_interface());
    let names = model.lans().iter().map(|lan| lan.interface.clone()).chain(link).chain(far);
    let interface = |index| Interface { index, mac: [2; 6], mtu: 1420 };
    let interfaces = (1..).zip(names).map(|(index, name)| (name, interface(index))).collect();
    let tables = compile(model, &interfaces).expect("every interface is there");
    let services = model.local_services().len() + model.remote_services().len();
    assert_eq!(tables.services.len(), services, "two services share a transit address");
    assert_eq!(Plan::new(model).link.peers.len(), model.peers().len());
}
