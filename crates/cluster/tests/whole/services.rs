//! Services on clusters of one family, in both modes of kube-proxy.

mod ipv4_iptables {
    crate::services::on!("2 --proxy iptables");
}

mod ipv4_nftables {
    crate::services::on!("2");
}

mod ipv6_iptables {
    crate::services::on!("2 --family ipv6 --proxy iptables");
}

mod ipv6_nftables {
    crate::services::on!("2 --family ipv6");
}
