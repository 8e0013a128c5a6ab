//! `lvd man`: the manual pages, made from the help.

use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::args::Args;
use crate::cli::say::say;
use crate::cli::stop::Stop;
use crate::cli::table::print;
use lvd_base::error::Error;
use lvd_io::publish;

/// Prints the page of `lvd`, or writes the pages of all commands into a folder.
pub fn man(folder: Option<&Path>) -> Result<(), Stop> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        Man::new(Args::command()).render(&mut page)?;
        return Ok(print(&String::from_utf8_lossy(&page))?);
    };
    publish::make_folder(folder)?;
    clap_mangen::generate_to(Args::command(), folder).map_err(Error::io(folder))?;
    say!("the manual pages are in {0}: man -l {0}/lvd.1", folder.display());
    Ok(())
}
