//! The kinds of changes, as labels. They name what is changed in the words of ip(8) and nft(8).

use model::change::Change;

/// A change's kind.
pub(crate) fn kind(change: &Change) -> &'static str {
    match change {
        Change::SetSysctl(_) => "set_sysctl",
        Change::AddLink(_) => "add_link",
        Change::SetUp(_) => "set_link_up",
        Change::SetPromiscuous(_) => "set_link_promiscuous",
        Change::SetMac(..) => "set_link_address",
        Change::SetDown(_) => "set_link_down",
        Change::RemoveLink(_) => "delete_link",
        Change::AddAddress(_) => "add_address",
        Change::AskAddress(_) => "ask_address",
        Change::RemoveAddress(_) => "delete_address",
        Change::AddRoute(_) => "add_route",
        Change::AddRouteWith(..) => "add_route_with",
        Change::ReplaceRoute(_) => "replace_route",
        Change::RemoveRoute(_) => "delete_route",
        Change::AddNeighbour(_) => "replace_neighbour",
        Change::AdmitStation(..) => "admit_station",
        Change::RemoveNeighbour(_) => "delete_neighbour",
        Change::PutQdisc(_) => "replace_qdisc",
        Change::PutTable(_) => "put_table",
        Change::RemoveTable => "delete_table",
        Change::AddElements(..) => "add_element",
        Change::RemoveElements(..) => "delete_element",
        Change::InsertRule(..) => "insert_rule",
        Change::RemoveRule(..) => "delete_rule",
        Change::ForgetFlows(_) => "forget_flows",
        Change::WriteConflist(_) => "write_conflist",
        Change::RemoveFile(_) => "delete_file",
        Change::RemoveFolder(_) => "delete_folder",
    }
}
