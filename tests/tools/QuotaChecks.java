import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.common.errors.BrokerIdNotRegisteredException;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.ResourceNotFoundException;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.quota.ClientQuotaFilterComponent;

/** Client quotas through ConfigCommand and the admin client, features through FeatureCommand. */
final class QuotaChecks {
    private static final ToolChecks.ToolMain CONFIG = kafka.admin.ConfigCommand::main;
    private static final ToolChecks.ToolMain FEATURES = org.apache.kafka.tools.FeatureCommand::main;

    private final String bootstrap;
    private final Checks checks;
    private final ToolChecks tools;

    QuotaChecks(String bootstrap, Checks checks, ToolChecks tools) {
        this.bootstrap = bootstrap;
        this.checks = checks;
        this.tools = tools;
    }

    void run() {
        configCommand("users", "alice-" + System.nanoTime(), "producer_byte_rate=1024,request_percentage=12.5",
            List.of("producer_byte_rate=1024.0", "request_percentage=12.5"));
        configCommand("clients", "app-" + System.nanoTime(), "consumer_byte_rate=2048",
            List.of("consumer_byte_rate=2048.0"));
        configCommand("ips", "192.0.2.1", "connection_creation_rate=10",
            List.of("connection_creation_rate=10.0"));
        checks.check("ConfigCommand on a client of a user", this::pair);
        checks.check("ConfigCommand quota, unknown key", () -> tools.bad(CONFIG, "--entity-type", "users",
            "--entity-name", "u", "--alter", "--add-config", "producer_byte_rat=1"));
        checks.check("admin client quotas", this::adminClient);
        checks.check("SCRAM credentials of users", this::scram);
        checks.check("FeatureCommand", this::features);
        checks.check("unregister a broker that is not there", () -> {
            try (Admin admin = admin()) {
                Checks.fails(BrokerIdNotRegisteredException.class,
                    () -> admin.unregisterBroker(54321).all().get());
            }
        });
    }

    private Admin admin() {
        return Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap));
    }

    private static String[] with(String[] entity, String... more) {
        String[] all = new String[entity.length + more.length];
        System.arraycopy(entity, 0, all, 0, entity.length);
        System.arraycopy(more, 0, all, entity.length, more.length);
        return all;
    }

    private void configCommand(String type, String name, String add, List<String> shown) {
        String[] named = {"--entity-type", type, "--entity-name", name};
        String[] all = {"--entity-type", type, "--entity-default"};
        checks.check("ConfigCommand quotas of " + type, () -> {
            for (String[] entity : List.of(named, all)) {
                tools.good(CONFIG, with(entity, "--alter", "--add-config", add));
                Checks.eventually(() -> {
                    String text = described(with(entity, "--describe"));
                    shown.forEach(part -> Checks.contains(text, part));
                });
            }
            String text = described("--entity-type", type, "--describe");
            Checks.contains(text, "'" + name + "'");
            Checks.contains(text, "default");
            for (String[] entity : List.of(named, all)) {
                String keys = add.replaceAll("=[^,]*", "");
                tools.good(CONFIG, with(entity, "--alter", "--delete-config", keys));
                Checks.eventually(() -> Checks.that(
                    !described(with(entity, "--describe")).contains(shown.get(0)), "still set"));
            }
        });
    }

    private String described(String... args) throws Exception {
        return tools.good(CONFIG, args);
    }

    /** There are no credentials: of all users none are shown, and one that is named is not found. */
    private void scram() throws Exception {
        tools.good(CONFIG, "--entity-type", "users", "--describe");
        try (Admin admin = admin()) {
            Checks.equal(Map.of(), admin.describeUserScramCredentials().all().get(), "credentials");
            Checks.fails(ResourceNotFoundException.class,
                () -> admin.describeUserScramCredentials(List.of("nobody")).description("nobody").get());
        }
    }

    private void pair() throws Exception {
        String[] pair = {"--entity-type", "users", "--entity-name", "bob", "--entity-type", "clients",
            "--entity-name", "app"};
        tools.good(CONFIG, with(pair, "--alter", "--add-config", "producer_byte_rate=7"));
        Checks.eventually(() -> Checks.contains(
            tools.good(CONFIG, with(pair, "--describe")), "producer_byte_rate=7.0"));
        tools.good(CONFIG, with(pair, "--alter", "--delete-config", "producer_byte_rate"));
    }

    private void adminClient() throws Exception {
        ClientQuotaEntity user = new ClientQuotaEntity(Map.of(ClientQuotaEntity.USER, "carol"));
        ClientQuotaFilter filter = ClientQuotaFilter.containsOnly(List.of(
            ClientQuotaFilterComponent.ofEntity(ClientQuotaEntity.USER, "carol")));
        try (Admin admin = admin()) {
            alter(admin, user, "producer_byte_rate", 4096.0);
            Checks.eventually(() -> Checks.equal(Map.of(user, Map.of("producer_byte_rate", 4096.0)),
                admin.describeClientQuotas(filter).entities().get(), "quotas"));
            Checks.fails(InvalidRequestException.class, () -> alter(admin, user, "producer_byte_rate", 1.5));
            Checks.fails(InvalidRequestException.class, () -> alter(admin, user, "no_such_key", 1.0));
            alter(admin, user, "producer_byte_rate", null);
            Checks.eventually(() -> Checks.equal(Map.of(),
                admin.describeClientQuotas(filter).entities().get(), "quotas"));
        }
    }

    private static Object alter(Admin admin, ClientQuotaEntity entity, String key, Double value)
        throws InterruptedException, ExecutionException {
        var change = new ClientQuotaAlteration(entity, List.of(new ClientQuotaAlteration.Op(key, value)));
        return admin.alterClientQuotas(List.of(change)).all().get();
    }

    private void features() throws Exception {
        String text = tools.good(FEATURES, "describe");
        Checks.contains(text, "Feature: metadata.version");
        Checks.contains(text, "Feature: group.version");
        text = tools.good(FEATURES, "upgrade", "--feature", "group.version=1");
        Checks.contains(text, "group.version was upgraded to 1.");
        text = tools.bad(FEATURES, "upgrade", "--feature", "group.version=99");
        Checks.contains(text, "Could not upgrade group.version to 99.");
    }
}
