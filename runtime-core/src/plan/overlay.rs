//! The layers of an overlay whose options are longer than the page that mount(2) takes.

/// mount(2) copies at most one page of options, with the final NUL.
const PAGE: usize = 4096;

/// The options of an overlay: as they are where they fit into a page, else with an option for each layer
/// (Linux 6.7), of which there may be 500.
pub(super) fn by_layers(options: Vec<String>) -> Vec<String> {
    let length: usize = options.iter().map(|option| option.len().saturating_add(1)).sum();
    if length <= PAGE {
        return options;
    }
    options
        .into_iter()
        .flat_map(|option| match option.strip_prefix("lowerdir=") {
            Some(list) => split(list),
            None => vec![option],
        })
        .collect()
}

/// The layers of a list as options, from the top down. A colon is between two layers, two colons are before
/// each of the layers that hold only data, and a backslash takes its meaning from the character behind it.
fn split(list: &str) -> Vec<String> {
    const LAYER: &str = "lowerdir+=";
    const DATA: &str = "datadir+=";
    let mut layers = vec![LAYER.to_owned()];
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ':' => {
                let data = characters.next_if_eq(&':').is_some();
                layers.push(if data { DATA } else { LAYER }.to_owned());
            }
            '\\' => layers.last_mut().into_iter().for_each(|layer| layer.extend(characters.next())),
            other => layers.last_mut().into_iter().for_each(|layer| layer.push(other)),
        }
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_as_it_is() {
        let list = format!("lowerdir={}", "x".repeat(PAGE - 1 - "lowerdir=".len()));
        assert_eq!(by_layers(vec![list.clone()]), vec![list.clone()]);
        assert_eq!(by_layers(vec![format!("{list}x")]).len(), 1);
        assert!(by_layers(vec![format!("{list}x")])[0].starts_with("lowerdir+=x"));
    }

    #[test]
    fn each_layer_is_an_option() {
        let layers = split("/a:/b c\\:d\\\\:/e::/data::/more");
        let right =
            ["lowerdir+=/a", "lowerdir+=/b c:d\\", "lowerdir+=/e", "datadir+=/data", "datadir+=/more"];
        assert_eq!(layers, right);
    }
}
