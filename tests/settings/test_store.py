from __future__ import annotations

from typing import Any

from tests.support.settings import AZURE, ConfigTestCase


class StoreSettingsTests(ConfigTestCase):
    def store(self, **env: str) -> Any:
        store = self.load({**AZURE, **env}).store
        assert store is not None
        return store

    def test_the_default_store_is_a_file(self) -> None:
        store = self.store()
        self.assertEqual(store.database_url, "sqlite:///chimegw-state/chimegw.sqlite")
        self.assertTrue(store.instance.endswith(":8080"))

    def test_the_state_folder_may_come_from_systemd(self) -> None:
        store = self.store(STATE_DIRECTORY="/var/lib/chimegw:/var/lib/more")
        self.assertEqual(store.state_directory, "/var/lib/chimegw")

    def test_postgresql_urls_name_the_driver(self) -> None:
        for url in ("postgres://u:pw@db/x", "postgresql://u:pw@db/x"):
            store = self.store(CHIMEGW_DATABASE_URL=url)
            self.assertEqual(store.database_url, "postgresql+psycopg://u:pw@db/x")
            self.assertNotIn("pw", repr(store))

    def test_mistakes_are_named(self) -> None:
        for name, value, word in (
            ("CHIMEGW_DATABASE_URL", "mysql://x/y", "sqlite:///"),
            ("CHIMEGW_DATABASE_URL", "calls.db", "sqlite:///"),
            ("CHIMEGW_INSTANCE", "a b", "CHIMEGW_INSTANCE"),
            ("CHIMEGW_RECORDINGS", "s3:/bucket", "s3://BUCKET"),
            ("CHIMEGW_ADMIN_TOKEN", "short", "CHIMEGW_ADMIN_TOKEN"),
        ):
            with self.subTest(name=name, value=value):
                self.refused(word, env={**AZURE, name: value})
