//! Section 1.2, The Initial Exchanges.

use ferry_ike::sim::{World, client, gateway};
use ferry_ike::status::{ChildSaState, IkeSaState};

#[test]
fn two_exchanges_make_an_ike_sa_and_a_child_sa() {
    let mut world = World::new(1);
    let gw = world.add(gateway().ts("10.1.0.0/16", "10.2.0.0/16"));
    let rw = world.add(client().ts("10.2.0.0/16", "10.1.0.0/16"));
    let request = world.initiate(rw, "net");
    assert_eq!(world.ike_sa(rw).state, IkeSaState::Connecting);

    assert_eq!(world.deliver(), "rw --> gw: HDR, SAi1, KEi, Ni, N(NAT_DETECTION_*)");
    assert_eq!(world.ike_sa(gw).state, IkeSaState::Connecting);
    assert_eq!(world.ike_sa(gw).connection, None);

    assert_eq!(world.deliver(), "gw --> rw: HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*)");
    assert_eq!(world.ike_sa(rw).state, IkeSaState::Connecting);
    assert_eq!(world.ike_sa(rw).spi_r, world.ike_sa(gw).spi_r);

    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), IDr, AUTH, SAi2, TSi, TSr}");
    let sa = world.ike_sa(gw);
    assert_eq!(sa.state, IkeSaState::Established);
    assert_eq!(sa.connection.as_deref(), Some("gw"));
    assert_eq!(sa.remote_id.unwrap().to_string(), "rw.example.org");
    assert_eq!(sa.children[0].state, ChildSaState::Installed);
    assert_eq!(world.events(gw), ["IKE_SA gw up", "CHILD_SA net up"]);

    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, SAr2, TSi, TSr}");
    assert_eq!(world.ike_sa(rw).state, IkeSaState::Established);
    assert_eq!(world.events(rw), ["IKE_SA rw up", "CHILD_SA net up", &format!("request {request} done")]);
    assert!(world.in_air().is_empty());
    assert_eq!((world.due(rw), world.due(gw)), (None, None));
    world.assert_connected(rw, gw);
    assert!(world.ping(rw) && world.ping(gw));

    let sa = world.ike_sa(rw);
    world.terminate(rw, sa.id);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {D}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {}");
    world.run_out(std::time::Duration::from_secs(60));
    world.assert_nothing_left();
}
