import java.util.List;

/** Runs the groups of checks named on the command line, or all of them. */
public final class Main {
    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        List<String> groups = List.of(args).subList(1, args.length);
        Checks checks = new Checks();
        if (groups.isEmpty() || groups.contains("tools")) {
            new ToolChecks(bootstrap, checks).run();
        }
        if (groups.isEmpty() || groups.contains("admin")) {
            new AdminChecks(bootstrap, checks).run();
        }
        if (groups.isEmpty() || groups.contains("roundtrip")) {
            new RoundTrip(bootstrap, checks).run();
        }
        if (groups.isEmpty() || groups.contains("groups")) {
            new GroupChecks(bootstrap, checks).run();
        }
        if (groups.isEmpty() || groups.contains("members")) {
            new MemberChecks(bootstrap, checks).run();
        }
        if (groups.isEmpty() || groups.contains("others")) {
            new OtherToolChecks(bootstrap, checks).run();
        }
        System.out.println(checks.passed + " passed, " + checks.failed + " failed");
        System.out.flush();
        // Not exit: ToolChecks takes that over, and a stuck tool may still hold a thread.
        Runtime.getRuntime().halt(checks.failed == 0 && checks.passed > 0 ? 0 : 1);
    }
}
