import java.io.PrintStream;
import java.util.concurrent.ExecutionException;

/** Counts and prints the outcome of named checks; a failed one does not stop the rest. */
final class Checks {
    int passed;
    int failed;
    private final PrintStream out = System.out;

    interface Body {
        void run() throws Exception;
    }

    void check(String name, Body body) {
        long start = System.nanoTime();
        try {
            body.run();
            count(true);
            out.printf("ok      %s (%d ms)%n", name, (System.nanoTime() - start) / 1_000_000);
        } catch (Throwable e) {
            count(false);
            out.printf("FAILED  %s: %s%n", name, e instanceof Failure ? e.getMessage() : e);
            if (!(e instanceof Failure)) {
                e.printStackTrace(out);
            }
        }
        out.flush();
    }

    private synchronized void count(boolean well) {
        if (well) {
            passed++;
        } else {
            failed++;
        }
    }

    static final class Failure extends RuntimeException {
        Failure(String message) {
            super(message);
        }
    }

    static void that(boolean condition, String message) {
        if (!condition) {
            throw new Failure(message);
        }
    }

    static void equal(Object expected, Object actual, String what) {
        that(expected == null ? actual == null : expected.equals(actual),
            what + ": expected " + expected + ", got " + actual);
    }

    static void contains(String text, String part) {
        that(text.contains(part), "no '" + part + "' in:\n" + text);
    }

    interface Call {
        Object run() throws Exception;
    }

    /** The call must fail with this exception, itself or as the cause of an ExecutionException. */
    static void fails(Class<? extends Throwable> kind, Call call) throws Exception {
        Object result;
        try {
            result = call.run();
        } catch (Throwable e) {
            Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
            that(kind.isInstance(cause), "expected " + kind.getSimpleName() + ", got " + cause);
            return;
        }
        throw new Failure("expected " + kind.getSimpleName() + ", got " + result);
    }

    /** Repeats until the body passes: Kafka applies metadata after it has answered. */
    static void eventually(Body body) throws Exception {
        long deadline = System.nanoTime() + 10_000_000_000L;
        while (true) {
            try {
                body.run();
                return;
            } catch (Exception e) {
                if (System.nanoTime() > deadline) {
                    throw e;
                }
                Thread.sleep(50);
            }
        }
    }
}
