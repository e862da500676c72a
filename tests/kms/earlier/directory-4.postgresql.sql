SELECT pg_catalog.set_config('search_path', '', false);
CREATE FUNCTION public.audit_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
CREATE TABLE public.access_token (
    name text NOT NULL,
    digest bytea NOT NULL,
    created_s bigint NOT NULL,
    expires_s bigint,
    used_s bigint
);
CREATE TABLE public.audit (
    id bigint NOT NULL,
    time_ns bigint NOT NULL,
    exchange text NOT NULL,
    decision text NOT NULL,
    reason text NOT NULL,
    subscriber text NOT NULL,
    identity text NOT NULL,
    peers text NOT NULL,
    ticket text NOT NULL,
    credential text NOT NULL,
    rule text NOT NULL,
    kms text NOT NULL,
    source text NOT NULL,
    detail text NOT NULL,
    several bigint NOT NULL
);
CREATE SEQUENCE public.audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.audit_id_seq OWNED BY public.audit.id;
CREATE TABLE public.certificate (
    fingerprint bytea NOT NULL,
    subscriber_id bigint NOT NULL,
    der bytea NOT NULL,
    created_s bigint NOT NULL,
    device text
);
CREATE TABLE public.console_session (
    token bytea NOT NULL,
    kind text NOT NULL,
    sealed bytea NOT NULL,
    created_s bigint NOT NULL,
    seen_s bigint NOT NULL
);
CREATE TABLE public.credential_use (
    credential text NOT NULL,
    used_s bigint NOT NULL
);
CREATE TABLE public.device (
    id text NOT NULL,
    subscriber_id bigint NOT NULL,
    identity text NOT NULL,
    name text NOT NULL,
    sealed bytea NOT NULL,
    generation bigint NOT NULL,
    enrolled_s bigint NOT NULL,
    seen_s bigint NOT NULL,
    valid_until_s bigint NOT NULL,
    revoked_s bigint
);
CREATE TABLE public.group_member (
    member text NOT NULL,
    group_uri text NOT NULL
);
CREATE TABLE public.identity (
    uri text NOT NULL,
    subscriber_id bigint NOT NULL
);
CREATE TABLE public.invitation (
    number text NOT NULL,
    subscriber_id bigint NOT NULL,
    identity text NOT NULL,
    sealed bytea,
    secrets bytea,
    created_s bigint NOT NULL,
    expires_s bigint NOT NULL,
    tries bigint DEFAULT 0 NOT NULL,
    used_s bigint,
    revoked bigint DEFAULT 0 NOT NULL,
    request bytea,
    answer bytea
);
CREATE TABLE public.master_key_change (
    one bigint NOT NULL,
    old_key bytea NOT NULL,
    new_key bytea NOT NULL,
    began_s bigint NOT NULL,
    sealed_s bigint
);
CREATE TABLE public.master_key_check (
    one bigint NOT NULL,
    sealed bytea NOT NULL
);
CREATE TABLE public.policy (
    id bigint NOT NULL,
    created_s bigint NOT NULL,
    author text NOT NULL,
    text text NOT NULL
);
CREATE SEQUENCE public.policy_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.policy_id_seq OWNED BY public.policy.id;
CREATE TABLE public.provisioned_group (
    source text NOT NULL,
    key text NOT NULL,
    uri text NOT NULL,
    document text NOT NULL,
    version bigint NOT NULL,
    created_s bigint NOT NULL,
    changed_s bigint NOT NULL
);
CREATE TABLE public.provisioned_user (
    source text NOT NULL,
    key text NOT NULL,
    label text NOT NULL,
    subscriber_id bigint NOT NULL,
    document text NOT NULL,
    version bigint NOT NULL,
    closed bigint NOT NULL,
    created_s bigint NOT NULL,
    changed_s bigint NOT NULL
);
CREATE TABLE public.psk (
    key_id bytea NOT NULL,
    subscriber_id bigint NOT NULL,
    sealed bytea NOT NULL,
    valid_from_s bigint,
    valid_until_s bigint,
    created_s bigint NOT NULL,
    device text
);
CREATE UNLOGGED TABLE public.replay (
    expires_s bigint NOT NULL,
    digest bytea NOT NULL
);
CREATE UNLOGGED TABLE public.replay_floor (
    one bigint NOT NULL,
    stamped_s bigint NOT NULL,
    boot text NOT NULL
);
CREATE TABLE public.schema_version (
    part text NOT NULL,
    version integer NOT NULL
);
CREATE TABLE public.subscriber (
    id bigint NOT NULL,
    name text NOT NULL,
    identities text NOT NULL,
    enabled bigint NOT NULL,
    vouches_for text DEFAULT ''::text NOT NULL,
    created_s bigint NOT NULL
);
CREATE TABLE public.subscriber_group (
    uri text NOT NULL,
    created_s bigint NOT NULL
);
CREATE TABLE public.tpk (
    key_id bytea NOT NULL,
    owner_id bigint,
    sealed bytea NOT NULL,
    created_s bigint NOT NULL,
    seals_until_s bigint,
    resolves_until_s bigint NOT NULL
);
ALTER TABLE ONLY public.audit ALTER COLUMN id SET DEFAULT nextval('public.audit_id_seq'::regclass);
ALTER TABLE ONLY public.policy ALTER COLUMN id SET DEFAULT nextval('public.policy_id_seq'::regclass);
INSERT INTO public.access_token VALUES ('okta', '\xd47eeb2026759ec25ca1113ca141cb79df850b1e2313dbdb9c5f4d28f1cd45d9', 1800000000, NULL, NULL);
INSERT INTO public.audit VALUES (1, 1800000000000000000, 'request', 'granted', 'granted', 'alice', 'sip:alice@example.com', 'sip:bob@example.com', '0102030405060708', '616c6963652d31', 'all', '', '192.0.2.1', '', 0);
INSERT INTO public.certificate VALUES ('\x03d66dd08835c1ca3f128cceacd1f31ac94163096b20f445ae84285bc0832d72', 1, '\x6365727469666963617465', 1800000000, NULL);
INSERT INTO public.device VALUES ('alice.00000001', 1, 'sip:alice@example.com', 'desk', '\x0161c0e502298ae084e7f964cae139853c51b49573b41e1111a17e8e4d78664139653b4159a175cf081d407f7d2c0e6a88c6f17e26a9277ab1316dd2d1', 1, 1800000000, 1800000000, 4000000000, NULL);
INSERT INTO public.group_member VALUES ('sip:alice@example.com', 'sip:staff@example.com');
INSERT INTO public.identity VALUES ('sip:alice@example.com', 1);
INSERT INTO public.identity VALUES ('tel:+46701', 1);
INSERT INTO public.identity VALUES ('sip:bob@example.com', 2);
INSERT INTO public.invitation VALUES ('AAAA', 1, 'sip:alice@example.com', '\x01b03628a02ae718fb7e1521875c505ae1272d08b641e7d8f37f3e2d6535a877ce1ac46933c359b7a4fceb4764b7a34a2ec6ab5a84979a07b4971c525a', NULL, 1800000000, 4000000000, 0, NULL, 0, NULL, NULL);
INSERT INTO public.invitation VALUES ('BBBB', 1, 'sip:alice@example.com', NULL, NULL, 1800000000, 4000000000, 0, 1800000000, 0, '\x646967657374', '\x616e73776572');
INSERT INTO public.master_key_check VALUES (1, '\x013a8514febb431a6f30f35e9a7cdcca0f7a3c25e79a9d9be0c652c53c1a54f009ee521040867837faf9d39194f5ea8dd1fdee5e91f407fc88d1');
INSERT INTO public.policy VALUES (1, 1800000000, 'root', '[[rule]]
name = "all"
from = ["*"]
to = ["*"]
decision = "allow"
');
INSERT INTO public.psk VALUES ('\x616c6963652d31', 1, '\x010107ee026464c8b1a2d23406de2b9464c325a3b36f79f0b6f7cac40e640bf0fe494508f9f1b5abb804fbf7d5cf7473b8ad3cdac67936af6bf0afc6ab', NULL, 4000000000, 1800000000, NULL);
INSERT INTO public.psk VALUES ('\x616c6963652e30303030303030312e31', 1, '\x014f8ce437545cd761f33a7d89329eca2966c936a90f7b353dc333a4b58e81afe185b03b65949fc3d08c164fc10de08fb3109ef5f2c085d879e54aaeea', NULL, 4000000000, 1800000000, 'alice.00000001');
INSERT INTO public.replay_floor VALUES (1, 0, '');
INSERT INTO public.schema_version VALUES ('directory', 4);
INSERT INTO public.schema_version VALUES ('console', 1);
INSERT INTO public.schema_version VALUES ('master key', 1);
INSERT INTO public.schema_version VALUES ('audit', 2);
INSERT INTO public.schema_version VALUES ('replay', 1);
INSERT INTO public.subscriber VALUES (1, 'alice', 'sip:alice@example.com tel:+46701', 1, '', 1800000000);
INSERT INTO public.subscriber VALUES (2, 'bob', 'sip:bob@example.com', 0, '', 1800000000);
INSERT INTO public.subscriber_group VALUES ('sip:staff@example.com', 1800000000);
INSERT INTO public.tpk VALUES ('\x6be1a827aaad5aac', NULL, '\x019c05d5b94b3887b0c8c20ce5e3dc1e68c167fac8adcf92260580a01065db57268fc9914457f738091d2a4a4936139f893d0e5f268363176473a23963', 1800000000, NULL, 4000003200);
SELECT pg_catalog.setval('public.audit_id_seq', 1, true);
SELECT pg_catalog.setval('public.policy_id_seq', 1, true);
ALTER TABLE ONLY public.access_token
    ADD CONSTRAINT access_token_digest_key UNIQUE (digest);
ALTER TABLE ONLY public.access_token
    ADD CONSTRAINT access_token_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.certificate
    ADD CONSTRAINT certificate_pkey PRIMARY KEY (fingerprint);
ALTER TABLE ONLY public.console_session
    ADD CONSTRAINT console_session_pkey PRIMARY KEY (token);
ALTER TABLE ONLY public.credential_use
    ADD CONSTRAINT credential_use_pkey PRIMARY KEY (credential);
ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.group_member
    ADD CONSTRAINT group_member_pkey PRIMARY KEY (member, group_uri);
ALTER TABLE ONLY public.identity
    ADD CONSTRAINT identity_pkey PRIMARY KEY (uri);
ALTER TABLE ONLY public.invitation
    ADD CONSTRAINT invitation_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.master_key_change
    ADD CONSTRAINT master_key_change_pkey PRIMARY KEY (one);
ALTER TABLE ONLY public.master_key_check
    ADD CONSTRAINT master_key_check_pkey PRIMARY KEY (one);
ALTER TABLE ONLY public.policy
    ADD CONSTRAINT policy_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.provisioned_group
    ADD CONSTRAINT provisioned_group_pkey PRIMARY KEY (source, key);
ALTER TABLE ONLY public.provisioned_group
    ADD CONSTRAINT provisioned_group_uri_key UNIQUE (uri);
ALTER TABLE ONLY public.provisioned_user
    ADD CONSTRAINT provisioned_user_pkey PRIMARY KEY (source, key);
ALTER TABLE ONLY public.provisioned_user
    ADD CONSTRAINT provisioned_user_source_label_key UNIQUE (source, label);
ALTER TABLE ONLY public.provisioned_user
    ADD CONSTRAINT provisioned_user_subscriber_id_key UNIQUE (subscriber_id);
ALTER TABLE ONLY public.psk
    ADD CONSTRAINT psk_pkey PRIMARY KEY (key_id);
ALTER TABLE ONLY public.replay_floor
    ADD CONSTRAINT replay_floor_pkey PRIMARY KEY (one);
ALTER TABLE ONLY public.replay
    ADD CONSTRAINT replay_pkey PRIMARY KEY (expires_s, digest);
ALTER TABLE ONLY public.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (part);
ALTER TABLE ONLY public.subscriber_group
    ADD CONSTRAINT subscriber_group_pkey PRIMARY KEY (uri);
ALTER TABLE ONLY public.subscriber
    ADD CONSTRAINT subscriber_name_key UNIQUE (name);
ALTER TABLE ONLY public.subscriber
    ADD CONSTRAINT subscriber_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tpk
    ADD CONSTRAINT tpk_pkey PRIMARY KEY (key_id);
CREATE INDEX audit_identity ON public.audit USING btree (identity);
CREATE INDEX audit_peers ON public.audit USING btree (peers);
CREATE INDEX audit_several ON public.audit USING btree (id) WHERE (several = 1);
CREATE INDEX audit_subscriber ON public.audit USING btree (subscriber);
CREATE INDEX audit_ticket ON public.audit USING btree (ticket);
CREATE INDEX audit_time ON public.audit USING btree (time_ns);
CREATE INDEX certificate_device ON public.certificate USING btree (device) WHERE (device IS NOT NULL);
CREATE INDEX certificate_subscriber ON public.certificate USING btree (subscriber_id);
CREATE INDEX device_end ON public.device USING btree (valid_until_s);
CREATE INDEX device_revoked ON public.device USING btree (revoked_s) WHERE (revoked_s IS NOT NULL);
CREATE INDEX device_subscriber ON public.device USING btree (subscriber_id);
CREATE INDEX group_member_group ON public.group_member USING btree (group_uri);
CREATE INDEX identity_subscriber ON public.identity USING btree (subscriber_id);
CREATE INDEX invitation_subscriber ON public.invitation USING btree (subscriber_id);
CREATE INDEX psk_device ON public.psk USING btree (valid_until_s) WHERE (device IS NOT NULL);
CREATE INDEX psk_subscriber ON public.psk USING btree (subscriber_id);
CREATE TRIGGER audit_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.audit FOR EACH STATEMENT EXECUTE FUNCTION public.audit_append_only();
ALTER TABLE ONLY public.certificate
    ADD CONSTRAINT certificate_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES public.subscriber(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES public.subscriber(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.group_member
    ADD CONSTRAINT group_member_group_uri_fkey FOREIGN KEY (group_uri) REFERENCES public.subscriber_group(uri) ON DELETE CASCADE;
ALTER TABLE ONLY public.identity
    ADD CONSTRAINT identity_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES public.subscriber(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.invitation
    ADD CONSTRAINT invitation_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES public.subscriber(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.provisioned_group
    ADD CONSTRAINT provisioned_group_uri_fkey FOREIGN KEY (uri) REFERENCES public.subscriber_group(uri) ON DELETE CASCADE;
ALTER TABLE ONLY public.provisioned_user
    ADD CONSTRAINT provisioned_user_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES public.subscriber(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.psk
    ADD CONSTRAINT psk_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES public.subscriber(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tpk
    ADD CONSTRAINT tpk_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.subscriber(id) ON DELETE CASCADE;
