//! A write that does not finish leaves what was there.

use std::sync::atomic::{AtomicBool, Ordering};

use onebasin_io::{Error, write_atomic, write_atomic_while};

#[test]
fn the_old_file_or_the_whole_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let names = || std::fs::read_dir(folder.path()).unwrap().count();
    write_atomic(&path, |out| out.write_all(b"old")).unwrap();

    let failed = write_atomic(&path, |out| {
        out.write_all(&vec![1; 5 << 20])?;
        Err(std::io::Error::other("no more"))
    });
    assert!(failed.unwrap_err().to_string().contains("no more"));

    let block = vec![1; 3 << 20];
    let stopped = AtomicBool::new(false);
    let go_on = || !stopped.load(Ordering::Relaxed);
    let failed = write_atomic_while(&path, &go_on, |out| {
        out.write_all(&block)?;
        stopped.store(true, Ordering::Relaxed);
        out.write_all(&block)
    });
    assert!(matches!(failed, Err(Error::Interrupted { .. })));
    let late = write_atomic_while(&path, &go_on, |_| Ok(()));
    assert!(matches!(late, Err(Error::Interrupted { .. })));
    let other = folder.path().join("other");
    write_atomic(&other, |out| out.write_all(b"goes on")).unwrap();
    std::fs::remove_file(other).unwrap();

    assert_eq!((std::fs::read(&path).unwrap(), names()), (b"old".to_vec(), 1));
    write_atomic(&path, |out| out.write_all(b"new")).unwrap();
    assert_eq!((std::fs::read(&path).unwrap(), names()), (b"new".to_vec(), 1));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        write_atomic(&path, |out| out.write_all(b"newer")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!((std::fs::read(&path).unwrap(), names()), (b"newer".to_vec(), 1));
    }
}
