import java.util.Map;

import org.apache.kafka.clients.admin.Admin;

/** Checks that need an admin client: what each of them has, and topics' names that no other run uses. */
abstract class Suite {
    static final String RUN = Long.toString(System.nanoTime(), 36);
    final String bootstrap;
    final Checks checks;

    Suite(String bootstrap, Checks checks) {
        this.bootstrap = bootstrap;
        this.checks = checks;
    }

    final void run() throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            run(admin);
        }
    }

    abstract void run(Admin admin) throws Exception;
}
